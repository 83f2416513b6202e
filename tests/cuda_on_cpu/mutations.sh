#!/usr/bin/env bash
# mutations.sh [BUILD] [FILE]: breaks each .cu of the cuda backend once and more (mutations.txt), and what its host's side waits
# for, and shows that the test on the emulation goes red every time. BUILD: a build folder in which the emulation and the tests of kernels are built (build).
# FILE: only this one's, add.cu for example. Exit status: 0 every break was found, 1 one was not, 2 cannot run.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${1:-build}" 2>/dev/null && pwd) || {
    echo "mutations.sh: no build folder '${1:-build}'" >&2
    exit 2
}
only=${2:-}
objects=$build/tests/cuda_on_cpu/CMakeFiles/omnid_cuda_emulated.dir
[ -d "$objects" ] || {
    echo "mutations.sh: $build has no emulation; build omnid_cuda_emulated first" >&2
    exit 2
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CXX=${CXX:-c++} CC=${CC:-cc} here root build objects work

# One break: its number, which names its folder, then the line's four parts. Prints what came of it; fails unless the test
# went red.
try() {
    local file=$2 test=$3 edit=$4 what=$5 folder=$work/$1 rest status program compiler=("$CXX" -x c++ -std=c++17)
    [[ $file != *.c ]] || compiler=("$CC" -x c -std=c11)
    program=$build/tests/unit/kernels/kernels_$test
    [ -x "$program" ] || program=$build/tests/cuda_on_cpu/cuda_$test
    mkdir -p "$folder"
    sed "$edit" "$root/kernels/cuda/$file" >"$folder/$file"
    if cmp -s "$root/kernels/cuda/$file" "$folder/$file"; then
        echo "no change   $file: $what: the expression does not match any more"
        return 1
    fi
    if ! "${compiler[@]}" -O1 -fPIC -fvisibility=hidden -fno-math-errno -ffp-contract=off -w -D_GNU_SOURCE \
        -I"$here/include" -I"$root" -c "$folder/$file" -o "$folder/mutant.o" 2>"$folder/log"; then
        echo "no build    $file: $what: $(head -n 1 "$folder/log")"
        return 1
    fi
    mapfile -t rest < <(find "$objects" -name '*.o' ! -name "$file.o")
    if ! "$CXX" -shared -o "$folder/libomnid-cuda.so" "$folder/mutant.o" "${rest[@]}" "$build/base/libomnid_base.a" -ldl \
        2>"$folder/log"; then
        echo "no build    $file: $what: $(head -n 1 "$folder/log")"
        return 1
    fi
    # In a shell of its own, which keeps to itself that the test was aborted.
    (OMNID_PLUGINS=$folder OMNID_TEST_BACKEND=cuda timeout 300 "$program" || exit $?) \
        >"$folder/log" 2>&1
    status=$?
    rm -f "$folder/mutant.o" "$folder/libomnid-cuda.so"
    if [ $status -eq 0 ] || [ $status -eq 77 ]; then
        echo "NOT FOUND   $file: $what"
        return 1
    fi
    echo "red         $file: $what"
}
export -f try

main() {
    local numbers=0 file test edit what missing=0 name failed
    while IFS= read -r line; do
        case $line in '' | '#'*) continue ;; esac
        file=${line%% @ *} line=${line#* @ }
        test=${line%% @ *} line=${line#* @ }
        edit=${line%% @ *} what=${line#* @ }
        [ -z "$only" ] || [ "$only" = "$file" ] || continue
        numbers=$((numbers + 1))
        printf '%s\0' "$numbers" "$file" "$test" "$edit" "$what"
    done <"$here/mutations.txt" >"$work/list"
    # shellcheck disable=SC2016 # for the shells that xargs starts
    xargs -0 -a "$work/list" -n 5 -P "$(nproc)" bash -c 'try "$@" || echo "$1" >>"$work/failed"' mutations
    for name in "$root"/kernels/cuda/*.cu; do
        name=$(basename "$name")
        if ! grep -q "^$name @ " "$here/mutations.txt"; then
            echo "no break    $name: mutations.txt has none for it"
            missing=$((missing + 1))
        fi
    done
    failed=$([ -f "$work/failed" ] && wc -l <"$work/failed" || echo 0)
    echo "$numbers breaks, $((numbers - failed)) found, $missing files without one"
    [ "$numbers" -gt 0 ] && [ "$failed" -eq 0 ] && [ $missing -eq 0 ]
}

main
