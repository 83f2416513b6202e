#!/usr/bin/env bash
# rig.sh: what the scripts that run inside the machine share. To be sourced; wants $build (the folder of the programs).
#
# Every wait has an end, and none of them is a test: under emulation on a busy host everything takes as long as it takes.
# Times of what omnid noticed come from its own events, taken by vm-events as they come, by the clock of /proc/uptime.

: "${build:?wants the folder of the programs}"
folder=/run/omnid-rig
events=/tmp/events
log=/tmp/omnid.log
daemon='' listener='' player='' screen=''
export OMNID_MIC_HELPER=$build/omnid-mic

uptime_s() {
    cut -d' ' -f1 /proc/uptime
}

# FROM TO: the seconds between.
between() {
    awk -v a="$1" -v b="$2" 'BEGIN {printf "%.1f", b - a}'
}

# Whether the sum is true: an awk expression.
true_that() {
    awk "BEGIN {exit !($1)}"
}

# wait_for SECONDS COMMAND…: until the command succeeds; 1: it did not.
wait_for() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $until ] || return 1
        sleep 0.2
    done
}

# end_background PID: what runs in the background ends, and is waited for; "": nothing does.
end_background() {
    [ -n "$1" ] || return 0
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# ---- omnid

# start_omnid MODEL OPTION…: in the background, with a fresh log and a fresh list of events.
start_omnid() {
    mkdir -p $folder
    : >$events
    "$build/omnid" --config=/dev/null --omnid.runtime_dir=$folder --model.path="$1" --model.memory_limit_mib=0 "${@:2}" \
        >$log 2>&1 &
    daemon=$!
    "$build/vm-events" $folder/events.sock >>$events 2>/dev/null &
    listener=$!
}

stop_omnid() {
    end_background "$daemon"
    end_background "$listener"
    daemon='' listener=''
}

ask() {
    "$build/omnid-ask" --socket $folder/ask.sock --timeout 240 "$@"
}

# status JQ-PATH: of the only camera.
status() {
    ask --json --status | jq -r ".cameras[0] | $1"
}

# answer OPTION… QUESTION: the last event of an answer, as JSON.
answer() {
    ask --json --max-tokens 8 "$@" | tail -n 1
}

# ---- events

event_count() {
    wc -l <$events
}

# event_after N PATTERN: the first event line behind line N that matches; its status 1: none so far.
event_after() {
    tail -n "+$(($1 + 1))" $events | grep -m 1 -E "$2"
}

seen_after() {
    event_after "$1" "$2" >/dev/null
}

# time_of N PATTERN: seconds of uptime of that event.
time_of() {
    event_after "$1" "$2" | cut -d' ' -f1
}

running() { # video|audio
    echo "\"source\":\"$1\",\"state\":\"running\""
}

lost() {
    echo "\"source\":\"$1\",\"state\":\"lost\""
}

# ---- the devices

pattern() { # black white red green blue: the whole picture, no text in it
    local number
    case $1 in black) number=5 ;; white) number=6 ;; red) number=7 ;; green) number=8 ;; blue) number=9 ;; esac
    v4l2-ctl -d "${2:-/dev/video0}" -c "osd_text_mode=2,brightness=128,test_pattern=$number"
}

# vivid stamps a picture with the end of its exposure, nine tenths of a frame ahead of when it gives it out; v4l2src takes such
# a stamp for wrong and says "one frame ago" instead. So it is told to stamp the start, as USB cameras do. Before it streams.
stamp_start() { # DEVICE
    v4l2-ctl -d "$1" -c timestamp_source=1
}

card_plays() {
    grep -q RUNNING /proc/asound/Loopback/pcm0p/sub0/status
}

# play FILE: 16-bit 16 kHz mono, on the card's playback side, which its capture side hears. In the background.
play() {
    aplay -q -D plughw:0,0 -t raw -f S16_LE -r 16000 -c 1 "$1" 2>/tmp/aplay.log &
    player=$!
    wait_for 30 card_plays
}

play_through() {
    aplay -q -D plughw:0,0 -t raw -f S16_LE -r 16000 -c 1 "$1" 2>/tmp/aplay.log
}

stop_playing() {
    end_background "$player"
    player=''
}

# Instead of the webcam a camera that sees what `show` shows it: vivid's HDMI input, looped from its HDMI output. 640x480, 60/s,
# scaled to what is asked of it without regard to form.
swap_camera() {
    modprobe -r vivid
    modprobe vivid n_devs=1 node_types=0x101 num_inputs=1 input_types=3 num_outputs=1 output_types=1
    v4l2-ctl -d /dev/video1 --set-dv-bt-timings index=0 --set-fmt-video-out width=640,height=480,pixelformat=NV12 >/dev/null
    v4l2-ctl -d /dev/video0 --set-dv-bt-timings index=0 >/dev/null
    v4l2-ctl -d /dev/video0 -c loop_video=1,osd_text_mode=2
}

# show FILE: an NV12 picture of 640x480, which stays.
show() {
    stop_showing
    v4l2-ctl -d /dev/video1 --stream-out-mmap=4 --stream-from="$1" --stream-loop >/tmp/show.log 2>&1 &
    screen=$!
}

stop_showing() {
    end_background "$screen"
    screen=''
}

webcam_again() {
    stop_showing
    modprobe -r vivid
    modprobe vivid
}

camera_out() {
    echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
}

camera_in() {
    echo vivid.0 >/sys/bus/platform/drivers/vivid/bind
}

# The kernel waits with this until nobody has the card open any more.
card_out() {
    echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/unbind
}

card_in() {
    echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/bind
}
