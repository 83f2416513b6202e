#!/usr/bin/env bash
# guest.sh BUILD OUT: the cases, inside the machine; run.sh starts it. `guest.sh --list` names them.
#
# A line a case: "ok", "FAILED" or "skipped", its name, and what was measured. BUILD holds the programs; OUT, which the host
# shares, holds what is shown and played (run.sh's make_sounds, make_pictures), and gets logs and frames.
# Exit status: the number of cases that failed.
# shellcheck disable=SC2317 # cases are called by their names
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

cases=(devices start frame colours level question age disconnect unplugged streaming-error start-error card restarts demo microphone service)
# They want a quiet machine: run.sh runs them when they are named, or with --all (README.md).
more=(first-run sync)
if [ "${1:-}" = --list ]; then
    printf '%s\n' "${cases[@]}"
    exit 0
fi
if [ "${1:-}" = --list-all ]; then
    printf '%s\n' "${cases[@]}" "${more[@]}"
    exit 0
fi
build=$1
out=$2 n_failed=0 figure='' why=''
# shellcheck source=tests/vm/rig.sh
. tests/vm/rig.sh

# Small and slow pictures, and few tokens of them: emulation is what is short here.
video=v4l2:/dev/video0,size=320x180,fps=5
audio='mic:Loopback: PCM (hw:0,1)'
camera=(--camera.rig.video="$video" --camera.rig.audio="$audio" --camera.rig.window_s=16)
tiny=tests/golden/data/M1/model
few_tokens=--timeline.max_pixels=3136

# A case that fails returns through this: the sentence.
wrong() {
    why=$*
    return 1
}

frame_colours() { # "WIDTH HEIGHT RED GREEN BLUE" of the newest frame, saved as $out/NAME.jpg
    rm -f "$out/$1.jpg"
    ask --frame "$out/$1.jpg" >/dev/null && "$build/vm-jpeg" "$out/$1.jpg"
}

# ---- the devices as people meet them

# The first list after a boot may take longer than omnid-devices waits for it.
devices_are_listed() {
    "$build/omnid-devices" --json --all >"$out/devices.json" 2>"$out/devices.err"
    jq -e 'any(.cameras[]; .usable and .path == "/dev/video0" and (.name | test("vivid"))) and
        any(.microphones[]; .usable and (.name | test("Loopback")))' "$out/devices.json" >/dev/null
}

case_devices() {
    wait_for 90 devices_are_listed || wrong "not listed as usable: $(jq -c . "$out/devices.json")" || return
    figure=$(jq -r '[.cameras[0], .microphones[0] | .choice] | join("; ")' "$out/devices.json")
}

case_start() {
    local from
    from=$(uptime_s)
    pattern white
    play "$out/silence.raw"
    start_omnid "$tiny" "${camera[@]}" "$few_tokens"
    wait_for 120 seen_after 0 "$(running video)" || wrong "no picture" || return
    wait_for 120 seen_after 0 "$(running audio)" || wrong "no sound" || return
    wait_for 120 seen_after 0 '"event":"segment"' || wrong "no segment" || return
    figure="picture $(between "$from" "$(time_of 0 "$(running video)")") s, sound $(between "$from" \
        "$(time_of 0 "$(running audio)")") s, first segment $(between "$from" "$(time_of 0 '"event":"segment"')") s after the start"
}

case_frame() {
    local size colours
    wait_for 60 frame_is white || wrong "a white picture has the size and colours $(<"$out/white")" || return
    size=$(status '.video | "\(.width) \(.height)"')
    colours=$(<"$out/white")
    figure="${colours/ /x} of a white picture, camera $(status '.video.fps | round') frames/s"
    [[ $colours == "$size "* ]] || wrong "the camera's size is $size, the frame's size and colours $colours"
}

# frame_is COLOUR: whether the newest frame has it; what it has goes to $out/COLOUR.
frame_is() {
    local r g b
    frame_colours "$1" >"$out/$1" || return
    read -r _ _ r g b <"$out/$1"
    case $1 in
    white) true_that "$r > 200 && $g > 200 && $b > 200" ;;
    red) true_that "$r > 150 && $g < 80 && $b < 80" ;;
    green) true_that "$g > 150 && $r < 80 && $b < 80" ;;
    blue) true_that "$b > 150 && $r < 80 && $g < 80" ;;
    black) true_that "$r < 40 && $g < 40 && $b < 40" ;;
    esac
}

case_colours() {
    local name
    for name in red green blue black; do
        pattern "$name"
        wait_for 60 frame_is "$name" || wrong "the frame of a $name picture has the size and colours $(<"$out/$name")" || return
        figure+="$name $(cut -d' ' -f3- "$out/$name"); "
    done
}

# level_is AWK-CONDITION on x.
level_is() {
    level=$(status '.audio.level_dbfs | round')
    true_that "${1//x/($level)}"
}

case_level() {
    local level='' quiet
    wait_for 60 level_is 'x < -55' || wrong "a quiet noise has $level dBFS" || return
    quiet=$level
    stop_playing
    play "$out/loud.raw"
    wait_for 60 level_is 'x > -15' || wrong "a loud tone has $level dBFS" || return
    stop_playing
    figure="a quiet noise $quiet dBFS, a loud tone $level dBFS"
}

# How old the newest thing is that an answer saw. Told, not judged below 10 s: half of it is programs starting under emulation.
case_age() {
    local -a ages
    mapfile -t ages < <(for _ in 1 2 3 4 5; do answer "Is it dark?" | jq '.newest_ago_s // empty'; done | sort -n)
    figure="in ${#ages[@]} answers ${ages[*]} s"
    [ ${#ages[@]} -eq 5 ] || wrong "only ${#ages[@]} of 5 questions were answered" || return
    true_that "${ages[2]} >= 0 && ${ages[2]} < 10" || wrong "answers do not see what is now: $figure"
}

# ---- the protocol about a live camera

case_question() {
    local done_event
    done_event=$(answer "What do you see?")
    figure=$(jq -r '"\(.tokens) tokens, first after \(.timings.ttft_ms | round) ms, \(.evidence | length) moments of evidence"' <<<"$done_event")
    jq -e '.event == "done" and .tokens > 0 and (.evidence | length) > 0' <<<"$done_event" >/dev/null || wrong "$done_event"
}

# ---- what is lost comes back

# came_back KIND FROM BACK: waits until KIND runs again behind event FROM, and a question is answered; the figure counts from
# uptime BACK, or from the loss when that is empty.
came_back() {
    local lost_at back_at
    wait_for 60 seen_after "$2" "$(lost "$1")" || wrong "the loss was not told" || return
    lost_at=$(time_of "$2" "$(lost "$1")")
    wait_for 90 seen_after "$2" "$(running "$1")" || wrong "it did not come back: $(status ".$1 | tojson"); open: $(find "/proc/$daemon/fd" -lname '/dev/video*' | wc -l) camera nodes" || return
    back_at=$(time_of "$2" "$(running "$1")")
    figure="running again $(between "${3:-$lost_at}" "$back_at") s after $([ -n "$3" ] && echo the device was back || echo the loss)"
    answer "What do you see?" | jq -e '.event == "done"' >/dev/null || wrong "no answer after it"
}

case_disconnect() {
    local n
    n=$(event_count)
    v4l2-ctl -c disconnect=1
    came_back video "$n" ''
}

case_unplugged() {
    local n back state before after
    n=$(event_count)
    before=$(status .gaps_video)
    camera_out
    wait_for 60 seen_after "$n" "$(lost video)" || wrong "the loss was not told" || return
    sleep 6
    state=$(status '.video.state + ": " + .video.message')
    [[ $state == lost:* ]] || wrong "the status is $state" || return
    answer "What do you see?" | jq -e '.event == "done"' >/dev/null || wrong "no answer without the camera" || return
    back=$(uptime_s)
    camera_in
    pattern black
    came_back video "$n" "$back" || return
    after=$(status .gaps_video)
    figure+=", $((after - before)) gaps told, status meanwhile '$state'"
    [ "$after" -gt "$before" ] || wrong "no gap was counted for 6 s without picture"
}

case_streaming-error() {
    local n
    n=$(event_count)
    v4l2-ctl -c inject_fatal_streaming_error=1
    came_back video "$n" ''
}

# The camera goes, and its next start fails once.
case_start-error() {
    local n
    n=$(event_count)
    v4l2-ctl -c inject_vidioc_streamon_error=1
    v4l2-ctl -c disconnect=1
    came_back video "$n" ''
}

case_card() {
    local n back before after unbinder
    n=$(event_count)
    before=$(status .gaps_audio)
    card_out &
    unbinder=$!
    wait_for 60 seen_after "$n" "$(lost audio)" || wrong "the loss was not told" || return
    wait "$unbinder"
    sleep 5
    answer "What do you hear?" | jq -e '.event == "done"' >/dev/null || wrong "no answer without the card" || return
    back=$(uptime_s)
    card_in
    came_back audio "$n" "$back" || return
    after=$(status .gaps_audio)
    figure+=", $((after - before)) gaps told"
    [ "$after" -gt "$before" ] || wrong "no gap was counted for 5 s without sound"
}

# All that together did not end the process. Segments that the engine skipped are told, not judged: the host may be busy.
case_restarts() {
    local told
    kill -0 "$daemon" || wrong "the daemon has ended" || return
    told=$(status '"\(.segments) segments, \(.skipped) skipped, restarts of picture \(.video.restarts), of sound \(.audio.restarts)"')
    figure="$told; $(awk '/VmRSS/ {printf "%.0f MiB resident", $2 / 1024}' "/proc/$daemon/status")"
    stop_omnid
}

# ---- the demo model

# Its segments take longer here than they last. So it looks and listens for some seconds, then both are paused, it takes in
# what it has, and is asked. show_demo PICTURE SOUND: what to see, what to play.
show_demo() {
    show "$1"
    ask --resume=both >/dev/null
    wait_for 120 both_run || wrong "not running" || return
    # Only now: the model has never been without sound, as the first segments may be.
    ask --forget >/dev/null
    play_through "$2"
    ask --pause=both >/dev/null
    wait_for 400 caught_up || wrong "the engine did not finish"
}

both_run() {
    [ "$(status '.video.state + .audio.state')" = runningrunning ]
}

caught_up() {
    [ "$(status .waiting)" = 0 ] && [ "$(status .visible)" -gt 0 ]
}

# demo_answers TRUTH QUESTION: adds to the figure. 1: something else was answered.
demo_answers() {
    local text
    text=$(answer --no-now "$2" | jq -r '.text // .message')
    figure+="${figure:+; }'$2' '$text'"
    [ "${text,,}" = "$1" ]
}

demo_wrong() {
    wrong "$figure; segments, their tokens of picture and sound: $(ask --json --timeline |
        tail -n 1 | jq -c '[.segments[] | [.segment, .video_tokens, .audio_tokens]]'); frame $(frame_colours demo)"
}

# heard TRUTH QUESTION PICTURE SOUND: a word or tone that a segment's end cuts in two may be heard wrong: then it is played again.
heard() {
    demo_answers "$1" "$2" && return
    show_demo "$3" "$4" && demo_answers "$1" "$2"
}

cross_is_seen() {
    show_demo "$out/cross.nv12" "$out/word.raw" && demo_answers cross "What shape is shown?" &&
        demo_answers orange "What colour is the shape?" && demo_answers 9 "Which digit is on the screen?" &&
        heard music "What word is spoken?" "$out/cross.nv12" "$out/word.raw"
}

triangle_is_seen() {
    show_demo "$out/triangle.nv12" "$out/tone.raw" && demo_answers triangle "What shape is shown?" &&
        demo_answers blue "What colour is the shape?" &&
        heard high "Is the tone high or low?" "$out/triangle.nv12" "$out/tone.raw"
}

# The demo model before a camera that is shown pictures of two of its clips, and hears a word and a tone.
case_demo() {
    local status
    swap_camera
    start_omnid models/demo --camera.rig.video=v4l2:/dev/video0,size=112x112 --camera.rig.audio="$audio" \
        --camera.rig.window_s=16 --timeline.max_queued=32 --timeline.lighten=false # slower than the clock: it waits, whole
    wait_for 180 seen_after 0 '"state":"ready"' && cross_is_seen && triangle_is_seen
    status=$?
    [ "$status" -eq 0 ] || demo_wrong
    stop_omnid
    webcam_again
    return "$status"
}

# tools/demo.sh --camera as somebody runs it who has just plugged in a camera, with nobody at the keyboard.
case_first-run() {
    pattern black
    OMNID_BIN=$build OMNID_SKIP_DEPS=1 TMPDIR=/tmp tools/demo.sh --camera >"$out/first-run.log" 2>&1 </dev/null ||
        wrong "$(tail -n 8 "$out/first-run.log")" || return
    figure=$(grep -m 1 '^picture ' "$out/first-run.log" | tr -s ' ')
    grep -q '^Picture: .*aspectratiocrop' "$out/first-run.log" || wrong "the picture was not cut to a square" || return
    [ "$("$build/vm-jpeg" /tmp/omnid-demo-frame.jpg | awk '{print $1 == $2}')" = 1 ] || wrong "the frame is no square" || return
    [ "$(grep -c 'first token' "$out/first-run.log")" = 3 ] || wrong "not every question was answered: $(tail -n 8 "$out/first-run.log")"
}

# ---- times

case_sync() {
    stamp_start /dev/video0
    "$build/vm-sync" v4l2:/dev/video0,size=320x180,fps=25 "$audio" /dev/video0 plughw:0,0 40 >"$out/sync.log" 2>"$out/sync.err"
    local status=$?
    figure=$(grep -m 1 '^in all' "$out/sync.log")
    [ "$status" -eq 0 ] || wrong "$figure $(tail -n 3 "$out/sync.err" | tr '\n' ' ')"
}

case_microphone() {
    bash tests/vm/mic.sh "$build" >"$out/mic.log" 2>&1 || wrong "$(tail -n 15 "$out/mic.log")" || return
    figure=$(grep -oE '(lost|back) [0-9.]+ s after the card (went|came)' "$out/mic.log" | tr '\n' ';')
}

case_service() {
    bash tests/vm/service.sh "$build" >"$out/service.log" 2>&1 || wrong "$(tail -n 15 "$out/service.log")" || return
    figure="$(grep -c '^service.sh: ' "$out/service.log") steps"
}

# ----

run_case() {
    local from=$SECONDS
    figure='' why=''
    if "case_$1" 2>"$out/$1.err"; then
        printf 'ok      %s (%s; %d s)\n' "$1" "$figure" $((SECONDS - from))
        return
    fi
    n_failed=$((n_failed + 1))
    printf 'FAILED  %s (%s; %d s)\n' "$1" "${why:-$figure}" $((SECONDS - from))
    tail -n 5 "$out/$1.err" | sed 's/^/        /'
    [ ! -f $log ] || tail -n 12 $log | sed 's/^/        omnid: /'
}

read -ra wanted <<<"${3:-${cases[*]}}"
for name in "${wanted[@]}"; do
    run_case "$name"
done
stop_playing
stop_omnid
cp $log $events "$out" 2>/dev/null
exit $((n_failed > 100 ? 100 : n_failed))
