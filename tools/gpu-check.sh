#!/usr/bin/env bash
# gpu-check.sh: everything that a machine with a GPU has to show, in one command of under 8 minutes.
#
#   tools/gpu-check.sh                 run it here; writes bench/results/DEVICE.csv, DEVICE.md and DEVICE.json
#   tools/gpu-check.sh --pack          build it here, for a machine that has neither this one's libraries nor a network: the
#                                      programs and every library they need go into build-gpu/ (copy the tree with it)
#
#   --budget SECONDS   the whole run (450); every step has a share of it, and what had to be cut is told
#   --out DIR          results go there instead of bench/results
#   --build DIR        with --pack: take what this build folder holds (it has to be configured without -DOMNID_CPU and
#                      -DOMNID_DAEMON); else build-gpu-tree is configured and built
#   --archs LIST       with --pack: GPUs to compile for (80;90)
#   --only STEP,STEP   only these of: ceiling ops golden bench-7b peer-7b bench-3b memcheck racecheck peer-3b
#
# Steps: the device's ceilings, every op against reference/ on the GPU, golden logits and survivors in f32 and bf16,
# omnid-bench --shape 7b and 3b, transformers itself in the same run (where python3 has it), compute-sanitizer.
# Exit status: 0 all passed, 1 something failed (the report says what), 2 usage, 69 nothing to run, 77 no GPU here.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
cd "$root" || exit 1

pack=build-gpu
tree=build-gpu-tree
budget=450
out=bench/results
archs="80;90"
only=
given_build=
started=$SECONDS
failed=0

say() {
    printf '%4d s  %s\n' $((SECONDS - started)) "$*"
}

quit() {
    echo "gpu-check.sh: $2" >&2
    exit "$1"
}

usage() {
    sed -n '2,18s/^# \{0,1\}//p' "$0"
}

left() {
    echo $((budget - (SECONDS - started)))
}

# ---- packing ----

# One number for the sources that the programs are made of: a pack of other sources is not used unnoticed.
sources_sum() {
    find base kernels engine bench tools/run tests/unit/kernels tests/golden cmake CMakeLists.txt \
        \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name 'CMakeLists.txt' -o -name '*.cmake' \) \
        -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum | cut -d ' ' -f 1
}

configure() {
    local launcher=() generator=()
    command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
    command -v ninja >/dev/null && generator=(-G Ninja)
    cmake -S . -B "$1" "${generator[@]}" "${launcher[@]}" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DOMNID_DAEMON=OFF -DOMNID_CPU=OFF \
        -DOMNID_OPENMP=OFF -DOMNID_CUDA=ON "-DOMNID_CUDA_ARCHS=$2"
}

# The tests of ops: every one that is built for the cuda backend.
op_names() {
    local source name
    for source in tests/unit/kernels/test_*.c; do
        name=$(basename "$source" .c)
        name=${name#test_}
        if [ "$name" = linear ] || [ -e "kernels/cuda/$name.cu" ]; then
            echo "$name"
        fi
    done
}

targets() {
    echo omnid_cuda omnid-bench omnid-run golden_answers golden_encoders golden_bf16
    op_names | sed 's/^/kernels_/'
}

# Programs of a build folder into build-gpu/bin, without their debug information.
collect() {
    local from=$1 name
    mkdir -p "$pack/bin" "$pack/lib"
    cp "$from/omnid-bench" "$from/omnid-run" "$from/libomnid-cuda.so" "$pack/bin/" || return 1
    for name in answers encoders bf16; do
        cp "$from/tests/golden/golden_$name" "$pack/bin/" || return 1
    done
    for name in $(op_names); do
        cp "$from/tests/unit/kernels/kernels_$name" "$pack/bin/" || return 1
    done
    strip --strip-unneeded "$pack"/bin/*
}

# Every shared library they need but the C library's own and the compiler's, which any machine has.
collect_libraries() {
    local library
    for library in $(ldd "$pack"/bin/* 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p' | sort -u); do
        case $(basename "$library") in
        libc.so* | libm.so* | libdl.so* | librt.so* | libpthread.so* | ld-linux* | libstdc++.so* | libgcc_s.so*) ;;
        *) cp -L "$library" "$pack/lib/" || return 1 ;;
        esac
    done
}

# The ceiling's program: nvcc alone makes it.
build_ceiling() {
    local arch codes=() nvcc=${NVCC:-nvcc}
    command -v "$nvcc" >/dev/null || nvcc=${CUDA_HOME:-/usr/local/cuda}/bin/nvcc
    for arch in ${archs//;/ }; do
        codes+=(-gencode "arch=compute_$arch,code=sm_$arch")
    done
    codes+=(-gencode "arch=compute_$arch,code=compute_$arch")
    "$nvcc" -std=c++17 -O3 "${codes[@]}" -o "$pack/bin/device-ceiling" bench/device_ceiling.cu -ldl
}

make_pack() {
    local from=${given_build:-$tree} kib
    rm -rf "$pack"
    mkdir -p "$pack/bin" || quit 1 "$pack cannot be written"
    if [ -z "$given_build" ]; then
        command -v cmake >/dev/null || quit 69 "cmake was not found: tools/deps.sh build"
        configure "$tree" "$archs" || quit 1 "$tree could not be configured (the end of the output above says why)"
    fi
    # shellcheck disable=SC2046 # one target a word
    cmake --build "$from" --parallel "$(nproc)" --target $(targets) || quit 1 "the build in $from failed"
    build_ceiling || quit 1 "bench/device_ceiling.cu was not compiled"
    collect "$from" || quit 1 "$from lacks a program of those asked for"
    collect_libraries || quit 1 "a library could not be copied"
    {
        echo "machine=$(uname -m)"
        echo "sources=$(sources_sum)"
        echo "commit=$(git describe --always --dirty 2>/dev/null || echo unknown)"
        echo "archs=$archs"
        echo "date=$(date +%F)"
    } >"$pack/manifest"
    kib=$(du -sk "$pack" | cut -f 1)
    say "$pack: $(find "$pack/bin" -type f | wc -l) programs, $(find "$pack/lib" -type f | wc -l) libraries, $((kib / 1024)) MiB"
    [ "$kib" -le 61440 ] || quit 1 "$pack takes $((kib / 1024)) MiB, want at most 60: compile for fewer GPUs (--archs)"
}

# ---- running: what there is ----

field() {
    sed -n "s/^$1=//p" "$pack/manifest" 2>/dev/null
}

has_gpu() {
    command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'
}

runs_here() {
    LD_LIBRARY_PATH=$root/$pack/lib "$pack/bin/omnid-bench" --version >/dev/null 2>&1
}

# A pack that fits, else what can be built here.
find_programs() {
    if [ -f "$pack/manifest" ] && [ "$(field machine)" = "$(uname -m)" ] && runs_here; then
        if [ "$(field sources)" = "$(sources_sum)" ]; then
            say "$pack: packed on $(field date) from these sources"
            return
        fi
        say "$pack: packed on $(field date) from other sources than these"
    fi
    if command -v cmake >/dev/null && command -v pkg-config >/dev/null; then
        say "building from these sources"
        archs=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -dc 0-9)
        if (archs=${archs:-90} && make_pack) >"$logs/build.log" 2>&1; then
            return
        fi
        say "that failed; the end of $logs/build.log:"
        tail -n 5 "$logs/build.log" | sed 's/^/        /'
    fi
    runs_here || quit 69 "nothing to run: $pack does not fit this machine and nothing can be built; run tools/gpu-check.sh --pack where cmake and the libraries are, and copy $pack here"
    say "going on with the pack of other sources: the report says so"
}

# ---- running: steps ----

wanted() {
    [ -z "$only" ] || [[ ,$only, == *,$1,* ]]
}

# Writes a step's outcome down: name, passed|failed|cut|skipped, seconds, a sentence.
note() {
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$logs/steps.tsv"
    [ "$2" != failed ] || failed=1
    say "$1: $2${4:+ ($4)}"
}

# The most a step may take: what it asks for, or what is left. Nothing below 5 s.
share() {
    local most
    most=$(left)
    [ "$1" -lt "$most" ] && most=$1
    [ "$most" -ge 5 ] || most=0
    echo "$most"
}

# One step that is one command: name, its most seconds, command…
step() {
    local name=$1 most begin=$SECONDS status
    wanted "$name" || return 0
    most=$(share "$2")
    shift 2
    if [ "$most" = 0 ]; then
        note "$name" cut 0 "no time left"
        return
    fi
    timeout --kill-after=5 "$most" "$@" >"$logs/$name.log" 2>&1
    status=$?
    case $status in
    0) note "$name" passed $((SECONDS - begin)) "" ;;
    124 | 137) note "$name" cut $((SECONDS - begin)) "ended after $most s" ;;
    69 | 77) note "$name" skipped $((SECONDS - begin)) "$(tail -n 1 "$logs/$name.log")" ;;
    *) note "$name" failed $((SECONDS - begin)) "exit $status: $(tail -n 1 "$logs/$name.log" | cut -c 1-160)" ;;
    esac
}

# Runs one of many: its name, seconds, command…; a line "name status" goes to fd 3's file.
one_of_many() {
    local name=$1 most=$2 log status
    log=$logs/$LIST-${name//[^A-Za-z0-9._-]/-}.log
    shift 2
    timeout --kill-after=5 "$most" "$@" >"$log" 2>&1
    status=$?
    echo "$name $status" >>"$logs/$LIST.list"
}

# Many programs side by side as one step: name, seconds for all, seconds for each, at once, then lines "name command…" on stdin.
many() {
    local name=$1 most each=$3 jobs=$4 begin=$SECONDS line total good bad cut skipped
    wanted "$name" || return 0
    most=$(share "$2")
    : >"$logs/$name.list"
    total=0
    while read -r line; do
        total=$((total + 1))
        while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
            wait -n
        done
        if [ $((SECONDS - begin)) -ge "$most" ]; then
            echo "${line%% *} 124" >>"$logs/$name.list"
            continue
        fi
        # shellcheck disable=SC2086 # the line is a command with its arguments
        LIST=$name one_of_many "${line%% *}" "$each" ${line#* } </dev/null &
    done
    wait
    good=$(grep -c ' 0$' "$logs/$name.list")
    cut=$(grep -cE ' (124|137)$' "$logs/$name.list")
    skipped=$(grep -c ' 77$' "$logs/$name.list")
    bad=$((total - good - cut - skipped))
    if [ $bad -gt 0 ]; then
        note "$name" failed $((SECONDS - begin)) "$bad of $total: $(grep -vE ' (0|77|124|137)$' "$logs/$name.list" | cut -d ' ' -f 1 | tr '\n' ' ')"
    elif [ "$good" -lt "$total" ]; then
        note "$name" cut $((SECONDS - begin)) "$good of $total passed, $cut had no time, $skipped skipped: $(grep -v ' 0$' "$logs/$name.list" | cut -d ' ' -f 1 | tr '\n' ' ')"
    else
        note "$name" passed $((SECONDS - begin)) "$good of $total"
    fi
}

list_ops() {
    local name
    for name in $(op_names); do
        [ ! -x "$pack/bin/kernels_$name" ] || echo "$name ${1:-} $pack/bin/kernels_$name"
    done
}

list_golden() {
    local case
    echo "encoders $pack/bin/golden_encoders cuda"
    for case in M1/plain M1/video M1/stream M2/audio M2/plain M2/stream M3/plain M3/stream; do
        echo "$case $pack/bin/golden_answers ${case%/*} ${case#*/} cuda"
    done
    echo "bf16 $pack/bin/golden_bf16"
}

# Ops whose warps share memory between barriers.
list_racy() {
    list_ops "$1" | grep -E '^(select|score|attend|rmsnorm|layernorm|keep|sample|similarity|encoder_attention) '
}

sanitizer() {
    local tool=compute-sanitizer
    command -v $tool >/dev/null || tool=${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer
    command -v "$tool" || true
}

run_sanitizers() {
    local tool
    tool=$(sanitizer)
    if [ -z "$tool" ]; then
        note memcheck skipped 0 "compute-sanitizer was not found"
        note racecheck skipped 0 "compute-sanitizer was not found"
        return
    fi
    many memcheck 60 50 6 < <(list_ops "$tool --tool memcheck --leak-check full --error-exitcode 99")
    many racecheck 45 40 6 < <(list_racy "$tool --tool racecheck --error-exitcode 99")
}

# Folders that hold cuBLASLt where the loader does not look: the toolkit's, and a Python package's. Each with a colon.
blas_folders() {
    local file
    for file in "${CUDA_HOME:-/usr/local/cuda}"/lib64/libcublasLt.so.* \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null)"/nvidia/*/lib/libcublasLt.so.*; do
        [ ! -e "$file" ] || printf '%s:' "$(dirname "$file")"
    done
}

# shape, most seconds
bench() {
    local ends
    ends=$(share "$2")
    step "bench-$1" "$2" "$pack/bin/omnid-bench" --backend cuda --precision bf16 --shape "$1" --only-live --compare-f32 \
        --retention 'none;45;30;20' --budget $((ends * 7 / 10 + 1)) --json "$logs/bench-$1.json"
}

peer() {
    step "peer-$1" "$2" env "LD_LIBRARY_PATH=$given_libraries" python3 bench/peers/transformers_gpu.py --shape "$1" --json "$logs/peer-$1.json"
}

run_all() {
    has_gpu || quit 77 "no GPU: nvidia-smi lists none here; nothing was checked (tools/gpu-check.sh --pack prepares for a machine that has one)"
    logs=$pack/logs
    rm -rf "$logs"
    mkdir -p "$logs" "$out" || quit 1 "$logs and $out have to be writable"
    find_programs
    nvidia-smi >"$logs/nvidia-smi.log" 2>&1
    given_libraries=${LD_LIBRARY_PATH:-}
    LD_LIBRARY_PATH=$root/$pack/lib:$(blas_folders)$given_libraries
    export LD_LIBRARY_PATH
    export OMNID_PLUGINS=$root/$pack/bin OMNID_TEST_BACKEND=cuda OMNID_TEST_SOURCE=$root PYTHONUNBUFFERED=1
    many ops 60 45 6 < <(list_ops)
    many golden 60 45 4 < <(list_golden)
    step ceiling 40 sh -c "exec '$pack/bin/device-ceiling' >'$logs/ceiling.json'"
    bench 7b 130
    peer 7b 60
    bench 3b 80
    run_sanitizers
    peer 3b 40
    report
}

report() {
    python3 bench/gpu_report.py --logs "$logs" --out "$out" --manifest "$pack/manifest" ||
        quit 1 "the report was not made; the figures are in $logs"
    [ $failed = 0 ] || quit 1 "something failed: the report names it, the output is in $logs"
}

main() {
    local what=run_all
    while [ $# -gt 0 ]; do
        case $1 in
        --pack) what=make_pack ;;
        --budget | --out | --build | --archs | --only)
            [ $# -gt 1 ] || quit 2 "$1 wants a value"
            case $1 in
            --budget) budget=$2 ;;
            --out) out=$2 ;;
            --build) given_build=$2 ;;
            --archs) archs=$2 ;;
            --only) only=$2 ;;
            esac
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) quit 2 "want --pack or nothing (--help), found '$1'" ;;
        esac
        shift
    done
    [[ $budget =~ ^[0-9]+$ ]] || quit 2 "--budget: want whole seconds, found '$budget'"
    $what
}

main "$@"
