#!/usr/bin/env bash
# omnid-run --video: the demo model hears and sees what is in its clips, whole and as a stream; what is no clip is refused.
# Arguments: the program, the folder models/demo.
set -uo pipefail
run=$1
demo=$2
failed=0

# expect STATUS WORDS ARG…: exit status, and what stdout (or, for a failure, stderr) must hold.
expect() {
    local want=$1 words=$2 out status
    shift 2
    if [ "$want" -eq 0 ]; then
        out=$("$run" --model "$demo" --threads 1 "$@" 2>/dev/null)
    else
        out=$("$run" --model "$demo" --threads 1 "$@" 2>&1 >/dev/null)
    fi
    status=$?
    if [ "$status" -ne "$want" ] || ! grep -q -- "$words" <<<"$out"; then
        echo "FAILED: $*: want exit $want and '$words', found $status and: $out"
        failed=1
    fi
}

expect 0 '^music$' --video "$demo/clips/01.mkv" --question 'What word did you hear?' --mel-reference running
expect 0 '^white$' --video "$demo/clips/01.mkv" --question 'What colour is the background?' --stream 32
expect 0 '[a-z]' --video "$demo/clips/01.mkv" --question 'What colour is the background?' --stream 32 --ask-at 3.2
expect 1 'README.md: ' --video "$demo/README.md" --question 'What?'
expect 1 'No such file' --video "$demo/clips/none.mkv" --question 'What?'
[ $failed -eq 0 ] && echo "omnid-run --video: all as expected"
exit $failed
