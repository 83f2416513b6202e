#!/usr/bin/env bash
# demo.sh's options: usage, --list, --cards, and --camera on a made-up camera, with nobody at the keyboard.
# Arguments: source folder, folder of the programs, a tiny model.
set -euo pipefail
source=$1 tiny=$3
export OMNID_BIN=$2 OMNID_SKIP_DEPS=1 OMNID_DEMO_PATIENCE=1
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
export TMPDIR=$here
cd "$here"

fail() {
    echo "test_demo: $1" >&2
    cat out err >&2
    exit 1
}

# run STATUS ARG…: the exit status must be that one.
run() {
    local want=$1 rc=0
    shift
    "$source/tools/demo.sh" "$@" >out 2>err </dev/null || rc=$?
    [ "$rc" = "$want" ] || fail "demo.sh $*: status $rc, want $want"
}

run 0 --help
grep -q -- '--camera \[URI\]' out || fail "the help does not tell --camera"
for wrong in --nonsense '--clip many' --mic '--mic mic:x' --whole '--camera test: --model'; do
    # shellcheck disable=SC2086 # words
    run 2 $wrong
    [ -s err ] || fail "'$wrong' has no sentence"
done
run 0 --list
[ "$(head -n 1 out)" = 01 ] || fail "the clips are not listed"
run 1 --clip 99
grep -q 'there is no clip 99' err || fail "a clip that is not there has no sentence"

run 0 --cards
[ "$(head -c 5 omnid-cards.pdf)" = %PDF- ] || fail "no cards in the caller's folder"
run 0 --cards "$here/mine.pdf"
cmp -s mine.pdf omnid-cards.pdf || fail "--cards FILE writes something else"
run 1 --cards "$here/no/such/folder.pdf"

run 0 --camera test:ball,size=160x120 --mic test:,wave=silence
grep -q '160x120' out || fail "the picture's size is not told"
grep -q 'The demo model knows' out || fail "it does not say what the demo model knows"
[ "$(grep -c '^> ' out) $(grep -c 'first token' out)" = '3 3' ] || fail "want 3 questions and answers"
[ "$(head -c 2 omnid-demo-frame.jpg | od -An -tx1 | tr -d ' ')" = ffd8 ] || fail "no frame was saved"

run 0 --camera test:ball,size=160x120 --model "$tiny"
! grep -q 'The demo model knows' out || fail "another model is said to be the demo model"
grep -q 'sound none' out || [ -e /dev/snd ] || fail "it does not say that there is no sound"

run 1 --camera v4l2:/dev/video-that-is-not --mic none
grep -q 'no picture: .*does not exist' err || fail "a camera that is not there has no sentence"
run 1 --camera nonsense:
grep -q 'no such kind of source' err || fail "a source of no kind has no sentence"
run 1 --camera test: --model "$here/no-model"
grep -q 'no-model' err || fail "a model that is not there has no sentence"
