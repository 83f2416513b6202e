#!/usr/bin/env bash
# soak-vm.sh: half an hour of omnid on a real V4L2 camera and ALSA card in the emulated machine of tests/vm, with losses.
#
#   bench/soak-vm.sh [--minutes N] [--losses N] [--build DIR]    30 minutes, 10 losses of each of five kinds, build
#   bench/soak-vm.sh --minutes 4 --losses 1                      a try
#
# One camera and card are omnid's (tiny model: tests/vm/README.md says why); a second pair is vm-sync's, which measures all the
# time how far picture and sound lie apart. Every question asked while a device is away or just back has to be answered. Writes
# DIR/soak/soak-vm.log and .csv (uptime; of omnid's memory KiB resident, anonymous, in huge pages). The log's last lines are the verdicts.
# Exit status: 0 no segment lost, every loss survived, memory flat (5 % from the second quarter to the last), picture and sound within 40 ms; 1 not; 2 usage.
# shellcheck disable=SC2154 # daemon, events and log are rig.sh's
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
kinds=(disconnect unplugged streaming-error start-error card)

# ---- inside the machine

two_of_each() {
    modprobe -r vivid snd_aloop
    modprobe vivid n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0,0
    modprobe snd-aloop enable=1,1 index=0,1 pcm_substreams=1,1
    pattern black /dev/video0
    pattern black /dev/video1
    stamp_start /dev/video1
}

# Makes one loss of a kind; for those of more than a moment waits 4 s. $back: uptime when the device is back; "": by itself.
lose() {
    back=''
    case $1 in
    disconnect) v4l2-ctl -d /dev/video0 -c disconnect=1 ;;
    streaming-error) v4l2-ctl -d /dev/video0 -c inject_fatal_streaming_error=1 ;;
    start-error) v4l2-ctl -d /dev/video0 -c inject_vidioc_streamon_error=1 -c disconnect=1 ;;
    unplugged)
        camera_out
        sleep 4
        back=$(uptime_s)
        camera_in
        # Both cameras are one device to the kernel. vm-sync's has forgotten how to stamp, and is opened again to be believed.
        stamp_start /dev/video1
        v4l2-ctl -d /dev/video1 -c disconnect=1
        ;;
    card)
        card_out
        sleep 4
        back=$(uptime_s)
        card_in
        ;;
    esac
}

answers() {
    answer "What do you see?" | jq -e '.event == "done"' >/dev/null
}

# One loss and its end; prints a line. 1: it did not come back, or did not answer.
survive() {
    local n what=video lost_at back_at
    [ "$1" != card ] || what=audio
    n=$(event_count)
    lose "$1"
    wait_for 60 seen_after "$n" "$(lost $what)" || { echo "$1: FAILED: the loss was not told" && return 1; }
    answers || { echo "$1: FAILED: no answer without the device" && return 1; }
    wait_for 90 seen_after "$n" "$(running $what)" || { echo "$1: FAILED: it did not come back" && return 1; }
    answers || { echo "$1: FAILED: no answer with the device back" && return 1; }
    lost_at=$(time_of "$n" "$(lost $what)")
    back_at=$(time_of "$n" "$(running $what)")
    echo "$1: running again $(between "${back:-$lost_at}" "$back_at") s after $([ -n "$back" ] && echo the device was back || echo the loss)"
}

# Every 10 s, whatever happens: readings swing by some MiB as the kernel joins pages, and a state that lasts must not weigh more
# than its time. Ends with omnid.
note_memory() {
    while awk -v t="$(uptime_s)" '/^Rss/ {r = $2} /^Anonymous/ {a = $2} /^AnonHuge/ {h = $2} END {if (!r) exit 1; printf "%s,%d,%d,%d\n", t, r, a, h}' \
        "/proc/$daemon/smaps_rollup"; do
        sleep 10
    done >>"$out/soak-vm.csv" 2>/dev/null
}

# Indices that the events jump over, from the first segment to the last.
lost_segments() {
    sed -nE 's/^[0-9.]+ .*"segment":([0-9]+),"t0".*"event":"segment".*/\1/p' "$events" |
        awk 'NR > 1 && $1 > last + 1 {lost += $1 - last - 1} {last = $1} END {printf "%d of %d", lost, NR + lost}'
}

verdict() { # NAME OK TEXT
    if [ "$2" = 1 ]; then echo "ok      $1: $3"; else echo "FAILED  $1: $3" && n_failed=$((n_failed + 1)); fi
}

guest() {
    build=$1 out=$2 minutes=$3 losses=$4 n_failed=0
    local sync i kind n_survived=0 n_losses=0 next pause memory lost_text
    # shellcheck source=tests/vm/rig.sh
    . tests/vm/rig.sh
    two_of_each
    start_omnid tests/golden/data/M1/model --camera.rig.video=v4l2:/dev/video0,size=320x180,fps=5 \
        --camera.rig.audio='mic:Loopback: PCM (hw:0,1)' --camera.rig.window_s=16 --timeline.max_pixels=3136
    wait_for 180 seen_after 0 "$(running video)" && wait_for 180 seen_after 0 "$(running audio)" || echo "FAILED  start: $(<"$log")"
    "$build/vm-sync" v4l2:/dev/video1,size=320x180,fps=12.5 'mic:Loopback: PCM (hw:1,1)' /dev/video1 plughw:1,0 \
        $((minutes * 60)) 300 >"$out/sync.log" 2>"$out/sync.err" &
    sync=$!
    echo "uptime_s,resident_kib,anonymous_kib,huge_kib" >"$out/soak-vm.csv"
    note_memory &
    pause=$((minutes * 60 / (losses * ${#kinds[@]}))) # to the end: memory's last quarter is to be as busy as its second
    for ((i = 0; i < losses; i++)); do
        for kind in "${kinds[@]}"; do
            next=$((SECONDS + pause))
            n_losses=$((n_losses + 1))
            ! survive "$kind" || n_survived=$((n_survived + 1))
            while [ $SECONDS -lt $next ]; do sleep 1; done
        done
    done
    wait $sync
    sync=$?
    memory=$(awk -F, 'NR > 1 {r[++n] = $2} END {for (i = 1; i <= n; i++) {q = int(4 * (i - 1) / n); sum[q] += r[i]; count[q]++}
        printf "%.1f MiB in the second quarter, %.1f MiB in the last: %+.1f %%", sum[1] / count[1] / 1024, sum[3] / count[3] / 1024, 100 * (sum[3] / count[3] / (sum[1] / count[1]) - 1)}' "$out/soak-vm.csv")
    lost_text=$(lost_segments)
    status '"omnid: \(.segments) segments, gaps of picture \(.gaps_video), of sound \(.gaps_audio), skipped \(.skipped); restarts of picture \(.video.restarts), of sound \(.audio.restarts)"'
    cat "$out/sync.log"
    verdict losses "$([ $n_survived -eq $n_losses ] && echo 1)" "$n_survived of $n_losses survived"
    verdict segments "$([[ $lost_text == "0 of "* ]] && [ "$(status .skipped)" = 0 ] && echo 1)" "$lost_text segments lost"
    verdict memory "$(true_that "$(grep -oE '[+-][0-9.]+ %' <<<"$memory" | tr -d '+ %') < 5" && echo 1)" "$memory"
    verdict sync "$([ $sync -eq 0 ] && echo 1)" "$(tail -n 1 "$out/sync.log")"
    cp "$events" "$log" "$out"
    stop_omnid
    exit $((n_failed > 0))
}

# ---- on the host

if [ "${1:-}" = --guest ]; then
    shift
    guest "$@"
fi
minutes=30 losses=10 build=build
while [ $# -gt 0 ]; do
    case $1 in
    --minutes | --losses | --build)
        [ -n "${2:-}" ] || { echo "soak-vm.sh: $1 wants a value" >&2 && exit 2; }
        declare "${1#--}=$2"
        shift
        ;;
    -h | --help)
        sed -n '2,11s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "soak-vm.sh: want --minutes, --losses or --build, found '$1'" >&2
        exit 2
        ;;
    esac
    shift
done
[ -x "$build/vm-sync" ] || { echo "soak-vm.sh: no build in $build" >&2 && exit 2; }
build=$(realpath "$build")
out=$build/soak
mkdir -p "$out"
{
    echo "# bench/soak-vm.sh --minutes $minutes --losses $losses, $(git rev-parse --short HEAD), $(date -u +%Y-%m-%d), load $(cut -d' ' -f1-3 /proc/loadavg) at the start, $(nproc) cores"
    tests/vm/run-vm --timeout $((minutes * 120 + 900)) --mem 2048 --share "$out" -- "$0" --guest "$build" "$out" "$minutes" "$losses" 2>&1
    status=$?
    echo "# load $(cut -d' ' -f1-3 /proc/loadavg) at the end"
    exit $status
} | tee "$out/soak-vm.log"
exit "${PIPESTATUS[0]}"
