#!/usr/bin/env bash
# live.sh: what a person at a live camera waits for, of the program as it is installed or built.
#
#   bench/live.sh [BUILD [MODEL]]      BUILD: folder with omnid and omnid-ask (build); MODEL: a folder (the demo model)
#
# 1. Ten starts: from the process's start to the socket, to a model that is ready, to the first answer about a closed
#    segment, which itself takes 2 s. Beside it the processor time, which other work on the machine does not change.
# 2. Forty questions at odd moments to a running daemon, for each of two cameras (2 and 30 frames a second, no sound): the
#    age of the newest frame that the question sees, when it was read.
# 3. The milliseconds that keeping frames takes: of JPEG encoding a second of stream, from the threads' own clock.
# Needs jq. Prints; keep it in bench/results with the machine's name.
set -euo pipefail
build=${1:-build}
model=${2:+--model=$2}
folder=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon" 2>/dev/null; wait; rm -rf "$folder"' EXIT

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
ask() { "$build/omnid-ask" --socket "$folder/ask.sock" --json "$@" 2>/dev/null; }

start() { # OPTIONS…
    # shellcheck disable=SC2086 # no model is no word
    "$build/omnid" --config=/dev/null --omnid.runtime_dir="$folder" $model "$@" 2>"$folder/log" &
    daemon=$!
}

stop() {
    kill "$daemon"
    wait "$daemon" || true
    daemon=
}

until_true() { # COMMAND…: tries again every 10 ms, gives up after 60 s
    local n
    for ((n = 0; n < 6000; n++)); do
        if "$@"; then return 0; fi
        sleep 0.01
    done
    echo "live.sh: $* did not come true" >&2
    cat "$folder/log" >&2
    exit 1
}

answers() { ask --status >/dev/null; }
ready() { [ "$(ask --status | jq -r .state)" = ready ]; }
answered() { ask --no-now --max-tokens 1 What | jq -e 'select(.event == "done")' >/dev/null; }

# Columns of numbers to "median X, most Y" of each.
spread() { # NAME FILE COLUMN
    sort -g -k"$3,$3" "$2" | awk -v name="$1" -v c="$3" '{ x[NR] = $c } END { printf "%s: median %.3f, most %.3f (%d)\n", name, x[int((NR + 1) / 2)], x[NR], NR }'
}

echo "# $(nproc) cores, load $(cut -d' ' -f1-3 /proc/loadavg), $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs)"
for ((run = 0; run < 10; run++)); do
    t0=$(now_ms)
    start "--camera.x.video=test:ball"
    until_true answers
    t1=$(now_ms)
    until_true ready
    t2=$(now_ms)
    cpu=$(awk '{ print $14 + $15 }' "/proc/$daemon/stat")
    until_true answered
    t3=$(now_ms)
    stop
    echo "$((t1 - t0)) $((t2 - t0)) $((t3 - t0)) $cpu" >>"$folder/starts"
done
awk '{ print $1 / 1000, $2 / 1000, $3 / 1000, $3 / 1000 - 2, $4 / hz }' hz="$(getconf CLK_TCK)" "$folder/starts" >"$folder/seconds"
spread "start to socket, s" "$folder/seconds" 1
spread "start to ready, s" "$folder/seconds" 2
spread "start to first answer about a closed segment, s" "$folder/seconds" 3
spread "the same without the segment's own 2 s" "$folder/seconds" 4
spread "processor time until ready, all threads, s" "$folder/seconds" 5

for fps in 2 30; do
    start "--camera.x.video=test:ball,fps=$fps" --camera.x.audio=none
    until_true answered
    : >"$folder/ages"
    for ((i = 0; i < 40; i++)); do
        sleep "0.$((RANDOM % 900 + 100))"
        ask --max-tokens 1 "What is it" |
            jq -r 'select(.event == "done") | "\(.newest_frame_ago_s) \(.timings.ttft_ms / 1000)"' >>"$folder/ages"
    done
    spread "camera of $fps frames a second: age of the newest frame, s" "$folder/ages" 1
    spread "camera of $fps frames a second: time to first token, s" "$folder/ages" 2
    stop
done

# user and system time of capture's cutter thread, which encodes, in clock ticks
ticks() {
    local task
    for task in /proc/"$daemon"/task/*; do
        [ "$(cat "$task/comm")" != capture-cut ] || awk '{ print $14 + $15 }' "$task/stat"
    done
}
for mib in 0 64; do
    start "--camera.x.video=test:smpte,size=1280x720,fps=30" --camera.x.audio=none "--timeline.frames_mib=$mib"
    until_true answered
    before=$(ticks)
    sleep 20
    after=$(ticks)
    kept=$(ask --status | jq -r '.cameras[0] | "\(.frames) frames kept, \(.frames_bytes) bytes"')
    echo "1280x720 raw, frames_mib $mib: $(awk -v n=$((after - before)) -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.1f", n / hz / 20 * 1000 }') ms of the cutter's thread a second of stream; $kept"
    stop
done
