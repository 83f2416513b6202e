#!/usr/bin/env bash
# test.sh: every check of omnid, on a machine that may have nothing yet. One of the README's two commands.
#
#   tools/test.sh              all of it (under 15 minutes on two cores)
#   tools/test.sh --quick      without the sanitizers and the other builds
#
# Installs missing packages (tools/deps.sh), checks the sources, builds and tests the release, then the same under
# AddressSanitizer and UndefinedBehaviorSanitizer, the tests labelled `threads` under ThreadSanitizer, then builds with
# clang and without the daemon's libraries. Warnings are errors in all of them. The builds lie in build-test/.
# The last line is "N passed, N failed, N skipped". Exit status: 0 when nothing failed, 1 else, 69 no packages.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

passed=0 failed=0 skipped=0
out=build-test
jobs=$(nproc)
started=$SECONDS

say() {
    printf '%4d s  %s\n' $((SECONDS - started)) "$*"
}

# Counts one check: name, exit status, its log.
count() {
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
        say "ok      $1"
    else
        failed=$((failed + 1))
        say "FAILED  $1 (exit $2; the end of $3:)"
        tail -n 40 "$3" | sed 's/^/        /'
    fi
}

# One check that is one command: name, command…
check() {
    local name=$1 log status
    log=$out/logs/${1//[^A-Za-z0-9]/-}.log
    shift
    "$@" >"$log" 2>&1 </dev/null
    status=$?
    count "$name" $status "$log"
    return $status
}

# Configures and builds into build-test/NAME: name, target, cmake options…
build() {
    local name=$1 target=$2 launcher=()
    shift 2
    command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
    check "configure $name" cmake -S . -B "$out/$name" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DOMNID_WERROR=ON \
        "${launcher[@]}" "$@" || return 1
    check "build $name" cmake --build "$out/$name" --parallel "$jobs" --target "$target"
}

# A number of the junit file's first testsuite: file, attribute.
attribute() {
    local n
    n=$(grep -o -m 1 "$2=\"[0-9]*\"" "$1" | head -n 1 | tr -dc '0-9')
    echo "${n:-0}"
}

# Runs the tests of build-test/NAME and adds up what ctest counted: name, ctest's options…
run_tests() {
    local name=$1 log=$out/logs/tests-$1.log junit=$PWD/$out/logs/tests-$1.xml status total bad left
    shift
    rm -f "$junit"
    ctest --test-dir "$out/$name" --parallel "$jobs" --output-on-failure --no-tests=error --output-junit "$junit" "$@" \
        >"$log" 2>&1 </dev/null
    status=$?
    if [ ! -f "$junit" ]; then
        count "tests $name" $((status ? status : 1)) "$log"
        return
    fi
    total=$(attribute "$junit" tests)
    bad=$(attribute "$junit" failures)
    left=$(($(attribute "$junit" skipped) + $(attribute "$junit" disabled)))
    passed=$((passed + total - bad - left))
    failed=$((failed + bad))
    skipped=$((skipped + left))
    say "tests $name: $((total - bad - left)) passed, $bad failed, $left skipped"
    [ "$bad" -eq 0 ] || grep -aE '\*\*\*(Failed|Timeout|Exception)|^The following|^[[:space:]]+[0-9]+ - |\[  FAILED|ERROR:|runtime error' "$log" | head -n 60
    if [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then
        count "tests $name" $status "$log"
    fi
}

shell_scripts() {
    git ls-files | while read -r file; do
        if [ -f "$file" ] && head -c 64 "$file" | head -n 1 | tr -d '\0' | grep -qE '^#!.*\b(ba)?sh\b'; then
            echo "$file"
        fi
    done
}

check_format() {
    git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.cpp' | xargs clang-format --dry-run --Werror
}

# One check that does not apply here: name, why.
skip() {
    skipped=$((skipped + 1))
    say "skipped $1 ($2)"
}

check_scripts() {
    shell_scripts | xargs shellcheck
}

sources() {
    check "sizes of files and functions" tools/check-size
    check "words" tools/check-words
    check "shellcheck" check_scripts
    if clang-format --version | grep -q 'version 14\.'; then
        check "clang-format" check_format
    else
        skip "clang-format" "the tree is formatted by version 14, others break lines elsewhere"
    fi
}

# Warnings that a sanitizer cannot know are not ours come from these files, where the tree has them.
sanitizer_options() {
    export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:fast_unwind_on_malloc=0
    export UBSAN_OPTIONS=print_stacktrace=1
    export LSAN_OPTIONS=print_suppressions=0 TSAN_OPTIONS=second_deadlock_stack=1
    [ ! -f tests/lsan.supp ] || LSAN_OPTIONS+=:suppressions=$PWD/tests/lsan.supp
    [ ! -f tests/tsan.supp ] || TSAN_OPTIONS+=:suppressions=$PWD/tests/tsan.supp
}

main() {
    local quick=0
    case ${1:-} in
    '') ;;
    --quick) quick=1 ;;
    -h | --help)
        sed -n '2,12s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "test.sh: want nothing or --quick, found '$1'" >&2
        exit 2
        ;;
    esac
    say "packages"
    tools/deps.sh test || exit $?
    mkdir -p $out/logs
    export OMP_WAIT_POLICY=passive CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
    sources
    build release all -DOMNID_CUDA_ARCHS=80 && run_tests release # nvcc takes its time for every GPU
    if [ $quick = 0 ]; then
        sanitizer_options
        build asan all -DOMNID_CUDA=OFF -DOMNID_SANITIZE=address && run_tests asan --label-exclude slow
        build tsan all -DOMNID_CUDA=OFF -DOMNID_SANITIZE=thread -DOMNID_OPENMP=OFF -DOMNID_CPU=OFF && run_tests tsan --label-regex threads
        build clang all -DOMNID_CUDA=OFF -DCMAKE_C_COMPILER=clang -DOMNID_OPENMP=OFF
        build no-daemon all -DOMNID_CUDA=OFF -DOMNID_DAEMON=OFF
    fi
    say "done"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ $failed -eq 0 ]
}

main "$@"
