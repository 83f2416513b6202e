#!/usr/bin/env bash
# omnid-devices as a person calls it: help, usage, exit statuses, JSON, on whatever this machine has.
# Arguments: OMNID_DEVICES
set -euo pipefail
devices=$1
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT

fail() {
    echo "test_devices_cli: $1" >&2
    cat "$here/out" "$here/err" >&2
    exit 1
}

# run STATUS ARG…: the exit status must be that one.
run() {
    local want=$1 rc=0
    shift
    "$devices" "$@" >"$here/out" 2>"$here/err" || rc=$?
    [ "$rc" = "$want" ] || fail "omnid-devices $*: status $rc, want $want"
}

run 0 --help
grep -q 'Exit status: 0' "$here/out" || fail "the help does not tell the exit statuses"
[ -s "$here/err" ] && fail "the help writes to stderr"
run 0 --version
run 2 --nonsense
grep -q -- '--help' "$here/err" || fail "wrong usage does not name --help"
run 2 /dev/video0
run 2 --modes /dev/video0 --json
run 1 --modes /dev/video-that-is-not
grep -q 'does not exist' "$here/err" || fail "no sentence for a node that is not there"
run 3 --modes /dev/null
grep -q 'no V4L2 camera' "$here/err" || fail "no sentence for what is no camera"

# What this machine has decides between 0 and 1; text and JSON must agree on it.
rc=0
"$devices" --json >"$here/out" 2>"$here/err" || rc=$?
usable=$(jq '[.cameras[], .microphones[]] | map(select(.usable)) | length' "$here/out") || fail "no JSON"
[ "$rc" = "$((usable == 0))" ] || fail "status $rc with $usable usable devices"
run "$rc"
grep -q '^Cameras$' "$here/out" || fail "no heading"
if [ "$(jq -n --slurpfile x <("$devices" --json || true) '$x[0].cameras | length')" = 0 ]; then
    grep -q 'no camera' "$here/out" || fail "no sentence though there is no camera"
fi
"$devices" --json >/dev/full 2>"$here/err" && fail "a full disk goes unnoticed"
grep -q 'could not be written' "$here/err" || fail "no sentence for a full disk"
echo "test_devices_cli: passed ($usable usable devices here)"
