#!/usr/bin/env bash
# demo_camera.sh: what `demo.sh --camera` does. To be sourced by demo.sh, whose build, ask, status and fail it calls.
# shellcheck disable=SC2154 # bin, folder and whole are demo.sh's

knows='The demo model knows a small drawn world and nothing else: it has never seen a photograph or heard a person.
  It can tell   one large shape (circle, square, triangle, star, cross, ring), its colour (red, green, blue, yellow, orange,
                purple) and the background (black, white, grey); a digit or one of 16 words in capitals beside the shape;
                one of the same words spoken by a machine, 1 to 4 beeps, a high or a low tone.
  It cannot     see you, your room or your things; hold a conversation. Asked for what is not there it guesses.
Cards to hold up: tools/demo.sh --cards. Hold one straight, so that it fills the picture from edge to edge. Of simulated photographs
like that 87 in 100 shapes, 93 and more colours, 62 digits and 43 words were right; where the card fills three quarters, half of
the shapes, two colours in three, hardly a digit or word (models/demo/README.md). For real answers: --model DIR|NAME.'

asked_first=('What shape is shown?' 'What colour is the shape?' 'What word is spoken?')
asked_real=('What do you see?' 'What do you hear?' 'What has just happened?')

# ---- devices

# device KIND FIELD: of the first usable camera or microphone, out of omnid-devices' JSON; nothing when there is none.
device() {
    jq -r "[.$1[] | select(.usable)] | first | .$2 // empty" "$folder/devices.json"
}

# The camera's pipeline, cut to the square in its middle: pictures of that form are what the demo model was trained on.
square_pipeline() {
    local path choice mode size rate caps
    path=$(device cameras path)
    choice=$(device cameras choice)
    read -r mode size _ rate <<<"$choice"
    case $mode in
    MJPG | JPEG) caps=image/jpeg ;;
    H264) caps=video/x-h264 ;;
    HEVC) caps=video/x-h265 ;;
    VP80) caps=video/x-vp8 ;;
    *) caps=video/x-raw ;;
    esac
    rate=${rate%/s}
    [[ $size =~ ^[0-9]+x[0-9]+$ && $rate =~ ^[0-9]+$ ]] || return
    echo "pipeline:v4l2src device=$path ! $caps,width=${size%x*},height=${size#*x},framerate=$rate/1 ! decodebin !" \
        "videoconvert ! aspectratiocrop aspect-ratio=1/1 name=video"
}

# Shows the devices and sets $video and $audio where the command line did not.
choose_devices() {
    echo "Looking for cameras and microphones …"
    "$bin/omnid-devices" 2>&1 | sed 's/^/  /' || true
    "$bin/omnid-devices" --json >"$folder/devices.json" 2>/dev/null || true
    [ -s "$folder/devices.json" ] || echo '{"cameras": [], "microphones": []}' >"$folder/devices.json"
    if [ -z "$video" ]; then
        video=$(device cameras uri)
        [ -n "$video" ] || fail "no camera can be used, see above; a network camera or a file also does: --camera URI"
        if [ -z "$model" ] && [ "$whole" = 0 ] && square=$(square_pipeline) && [ -n "$square" ]; then
            video=$square
            echo "The demo model gets the square in the middle of the picture (--whole: all of it)."
        fi
    fi
    if [ -z "$audio" ]; then
        audio=$(device microphones uri)
        [ -n "$audio" ] || echo "No microphone can be used, see above: going on without sound."
    fi
    echo
    echo "Picture: $video"
    echo "Sound:   ${audio:-none}"
}

# ---- the daemon

start_live() {
    "$bin/omnid" --config=/dev/null --omnid.runtime_dir="$folder" --omnid.log=warning --model="${model:-models/demo}" \
        --camera.demo.video="$video" --camera.demo.audio="${audio:-none}" >"$folder/omnid.log" 2>&1 &
    daemon=$!
}

# How a source is, as omnid says it: "running", or "lost: its sentence".
source_state() {
    status | jq -r "if .state == \"ready\" then .cameras[0].$1 | if . == null then \"none\" elif .state == \"lost\" then
        \"lost: \" + .message else .state end else .state + \" \" + (.percent | floor | tostring) + \" %\" end" 2>/dev/null
}

# Until the model is loaded and the picture runs. What goes wrong has its own sentence, from omnid.
wait_for_picture() {
    local until=$((SECONDS + 600)) lost_until='' state=''
    while [ $SECONDS -lt $until ]; do
        kill -0 "$daemon" 2>/dev/null || {
            cat "$folder/omnid.log" >&2
            fail "omnid has ended, see above"
        }
        state=$(source_state video) || true
        case $state in
        running | ended) return ;;
        # Cameras need a moment; what is still lost after that stays so.
        lost:*)
            lost_until=${lost_until:-$((SECONDS + ${OMNID_DEMO_PATIENCE:-15}))}
            [ $SECONDS -lt "$lost_until" ] || fail "no picture: ${state#lost: }"
            ;;
        esac
        sleep 0.5
    done
    fail "no picture after 10 minutes (${state:-no answer from omnid})"
}

# One line: picture, and a meter from -60 to 0 dBFS.
meter_line() {
    jq -r '.cameras[0] | (if .audio and .audio.state == "running" then .audio.level_dbfs else null end) as $level |
        "picture \(.video.width)x\(.video.height), \(.video.fps * 10 | round / 10) frames/s   sound " +
        (if $level == null then (if .audio then .audio.state + ": " + .audio.message else "none" end) else
            (([[($level + 60) / 2, 0] | max, 30] | min | floor) as $n | "[" + "#" * $n + " " * (30 - $n) + "] ") +
            "\($level | round) dBFS" end)'
}

# Some seconds of meter: on a terminal a line that lives, else one line.
show_meter() {
    echo
    if [ ! -t 1 ]; then
        sleep 2
        status | meter_line
        return
    fi
    echo "Say something, and look at the meter …"
    for _ in {1..32}; do
        printf '\r%-110.110s' "$(status | meter_line)"
        sleep 0.25
    done
    printf '\n'
}

save_frame() {
    local file=${TMPDIR:-/tmp}/omnid-demo-frame.jpg
    if ask --frame "$file" >"$folder/frame.log" 2>&1; then
        echo "What omnid sees now is in $file (the only thing written to disk)."
    else
        echo "No frame could be saved: $(<"$folder/frame.log")"
    fi
}

# ---- questions

# Asks and prints the answer as it comes, then time to the first token and the evidence.
ask_live() {
    local event
    event=$(ask --json --timeout 120 "$1" 2>"$folder/ask.log" | tail -n 1) || true
    if [ -z "$event" ]; then
        cat "$folder/ask.log"
        return 1
    fi
    jq -r 'if .event == "done" then "  " + (.text | gsub("\\s+"; " ")) + "\n  (first token \(.timings.ttft_ms * 10 | round / 10) ms; from " +
        ([.evidence // [] | .[] | "\(.ago_s * 10 | round / 10) s ago: \(.weight * 100 | round) %" +
            (if .audio_share > 0.5 then " by ear" else "" end)] | .[0:4] | join(", ")) + ")"
        else "  " + .message end' <<<"$event"
}

# Empty line or the end of the input ends it.
converse() {
    local question
    echo "Ask (an empty line ends it). To begin with:"
    printf '  %s\n' "${suggested[@]}"
    while read -r -e -p '> ' question && [ -n "$question" ]; do
        ask_live "$question" || true
    done
    echo
}

# Without somebody at a keyboard: the suggested questions. 0: all were answered.
ask_suggested() {
    local question status=0
    for question in "${suggested[@]}"; do
        echo "> $question"
        ask_live "$question" || status=1
    done
    return $status
}

# The whole of --camera. Uses video, audio, model and whole as the command line set them.
watch_live() {
    choose_devices
    start_live
    echo "Starting omnid …"
    wait_for_picture
    show_meter
    # The first segment takes 2 s.
    wait_for_segment
    save_frame
    echo
    suggested=("${asked_real[@]}")
    if [ -z "$model" ]; then
        suggested=("${asked_first[@]}")
        echo "$knows"
        echo
    fi
    if [ -t 0 ]; then
        converse
    else
        ask_suggested
    fi
}

wait_for_segment() {
    local until=$((SECONDS + 120))
    while [ "$(status | jq '.cameras[0].visible' 2>/dev/null)" = 0 ]; do
        [ $SECONDS -lt $until ] || fail "no segment came in 2 minutes: $(tail -n 3 "$folder/omnid.log")"
        sleep 0.5
    done
}
