#!/usr/bin/env bash
# tools/deps.sh: the lists, and what it says and returns where nothing can be installed.  Argument: the source folder.
set -uo pipefail
deps=$1/tools/deps.sh
failed=0

wrong() {
    echo "FAILED: $*"
    failed=1
}

build=$("$deps" --list build) || wrong "--list build: exit $?"
demo=$("$deps" --list) || wrong "--list: exit $?"
all=$("$deps" --list test) || wrong "--list test: exit $?"
grep -qx libdnnl-dev <<<"$build" || wrong "build set has no libdnnl-dev"
grep -qx libcmocka-dev <<<"$build" || wrong "build set has no libcmocka-dev, which configuring needs"
grep -qx shellcheck <<<"$build" && wrong "build set has shellcheck, which only tests need"
grep -qx shellcheck <<<"$all" || wrong "test set has no shellcheck"
[ -z "$(comm -23 <(sort <<<"$build") <(sort <<<"$demo"))" ] || wrong "demo set lacks some of build"
[ -z "$(comm -23 <(sort <<<"$demo") <(sort <<<"$all"))" ] || wrong "test set lacks some of demo"
[ -z "$(sort <<<"$all" | uniq -d)" ] || wrong "a name stands twice"

"$deps" --list nonsense >/dev/null 2>&1
[ $? -eq 2 ] || wrong "an unknown set: want exit 2"

# A machine without apt: a PATH with only what the script itself needs.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for tool in bash env sed printf id; do
    path=$(type -P "$tool") && ln -s "$path" "$dir/$tool"
done
out=$(PATH=$dir bash "$deps" build)
[ $? -eq 69 ] || wrong "without apt: want exit 69"
grep -q libdnnl-dev <<<"$out" || wrong "without apt: the list is not printed"
out=$(PATH=$dir OMNID_SKIP_DEPS=1 bash "$deps" build) || wrong "OMNID_SKIP_DEPS=1: exit $?"
[ -z "$out" ] || wrong "OMNID_SKIP_DEPS=1 is not quiet: $out"
[ $failed -eq 0 ] && echo "deps.sh: all as expected"
exit $failed
