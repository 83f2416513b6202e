#!/usr/bin/env bash
# tools/check-size on made-up files: those within the limits pass, those one line past them do not.  Argument: the source folder.
set -uo pipefail
check=$1/tools/check-size
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# N lines of TEXT.
lines() {
    awk -v n="$1" -v text="$2" 'BEGIN { for (i = 0; i < n; i++) print text }'
}

# expect STATUS WORD FILE: check-size's status, and a word its output must hold.
expect() {
    local out status
    out=$("$check" "$3" 2>&1)
    status=$?
    if [ "$status" -ne "$1" ] || ! grep -q -- "$2" <<<"$out"; then
        echo "FAILED: $3: want status $1 and '$2', found $status and: $out"
        failed=1
    fi
}

{ echo "int f(int a)"; echo "{"; lines 117 "    a++;"; echo "}"; lines 30 "int x;"; } >"$dir/within.c"
{ echo "int small(void)"; echo "{"; echo "    return 1;"; echo "}"; echo "static int g(int a,"; echo "             int b)"; echo "{"; lines 117 "    a++;"; echo "}"; } >"$dir/long.c"
lines 800 "int x;" >"$dir/full.c"
lines 801 "int x;" >"$dir/over.h"
{ echo "class A:"; echo "    def short(self):"; lines 119 "        pass"; echo; echo "    def long(self):"; lines 120 "        pass"; echo "x = 1"; } >"$dir/a.py"
{ echo "def ok():"; lines 119 "    pass"; echo; echo "x = 1"; } >"$dir/ok.py"
{ echo "#!/bin/bash"; echo "f() {"; lines 118 "    true"; echo "}"; } >"$dir/script"
{ echo "#!/bin/bash"; echo "f() {"; lines 119 "    true"; echo "}"; } >"$dir/script.sh"

expect 0 '' "$dir/within.c"
expect 1 'long.c:5: g has 121 lines' "$dir/long.c"
expect 0 '' "$dir/full.c"
expect 1 'over.h: has 801 lines' "$dir/over.h"
expect 1 'a.py:123: long has 121 lines' "$dir/a.py"
expect 0 '' "$dir/ok.py"
expect 0 '' "$dir/script"
expect 1 'script.sh:2: f has 121 lines' "$dir/script.sh"
expect 2 'nothing to check' "$dir/none.c"
[ $failed -eq 0 ] && echo "check-size: all as expected"
exit $failed
