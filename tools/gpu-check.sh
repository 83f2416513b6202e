#!/usr/bin/env bash
# gpu-check.sh: everything that a machine with a GPU has to show, in one command of under 8 minutes.
#
#   tools/gpu-check.sh                 run it here; writes bench/results/DEVICE.csv, DEVICE.md and DEVICE.json
#   tools/gpu-check.sh --pack          build it here, for a machine that has neither this one's libraries nor a network: the
#                                      programs and every library they need go into build-gpu/ (copy the tree with it)
#
#   --budget SECONDS   the whole run (450); every step has a share of it, and what had to be cut is told
#   --out DIR          results go there instead of bench/results
#   --with DIR         the pack lies there, or goes there, instead of build-gpu/
#   --build DIR        with --pack: build in this folder as it is configured (-DOMNID_DAEMON=OFF; -DOMNID_CPU=OFF keeps the
#                      pack small); else build-gpu-tree is configured and built
#   --archs LIST       with --pack: GPUs to compile for (80;90)
#   --only STEP,STEP   only these of: ops golden ceiling bench-7b kernels peer-7b bench-3b memcheck racecheck peer-3b
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
golden=(answers encoders bf16 int8)
out=bench/results
archs="80;90"
only=
given_build=
plugin_of=
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

# One number for the sources below the folders given: a pack of other sources is not used unnoticed.
sum_of() {
    find "$@" -type f \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) -print0 | LC_ALL=C sort -z |
        xargs -0 cat | sha256sum | cut -d ' ' -f 1
}

# Of the programs, and of the plugin alone.
programs_sum() {
    sum_of base engine kernels/*.[ch] kernels/reference bench tools/run tests/unit/kernels tests/unit/engine tests/golden
}

plugin_sum() {
    sum_of base kernels/*.[ch] kernels/reference kernels/cuda
}

# What a pack of these sources says in its manifest.
print_sums() {
    echo "machine=$(uname -m)"
    echo "programs=$(programs_sum)"
    echo "plugin=$(plugin_sum)"
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
        if [ "$name" = linear ] || [ "$name" = replay ] || [ -e "kernels/cuda/$name.cu" ]; then
            echo "$name"
        fi
    done
}

targets() {
    echo omnid_cuda omnid-bench omnid-kernel-bench omnid-run engine_together
    printf 'golden_%s\n' "${golden[@]}"
    op_names | sed 's/^/kernels_/'
}

# Programs of a build folder into build-gpu/bin, without their debug information.
collect() {
    local from=$1 name
    mkdir -p "$pack/bin" "$pack/lib"
    cp "$from/omnid-bench" "$from/omnid-kernel-bench" "$from/omnid-run" "$from/libomnid-cuda.so" "$pack/bin/" || return 1
    cp "$from/tests/unit/engine/engine_together" "$pack/bin/" || return 1
    for name in "${golden[@]}"; do
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

# nvcc's path, or nothing and a failure.
find_nvcc() {
    command -v "${NVCC:-nvcc}" || command -v "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc"
}

# nvcc's options for the GPUs of $archs, and PTX of the last for those to come.
codes() {
    local arch
    for arch in ${archs//;/ }; do
        printf -- '-gencode arch=compute_%s,code=sm_%s ' "$arch" "$arch"
    done
    printf -- '-gencode arch=compute_%s,code=compute_%s' "$arch" "$arch"
}

# The ceiling's program: nvcc alone makes it.
build_ceiling() {
    local nvcc
    nvcc=$(find_nvcc) || return 1
    # shellcheck disable=SC2046 # one option a word
    "$nvcc" -std=c++17 -O3 $(codes) -o "$pack/bin/device-ceiling" bench/device_ceiling.cu -ldl
}

# Waits until fewer than so many jobs run.
throttle() {
    while [ "$(jobs -rp | wc -l)" -ge "$1" ]; do
        wait -n
    done
}

# The plugin by nvcc and the C compiler alone, as kernels/cuda/CMakeLists.txt builds it: no cmake, no library but CUDA's.
build_plugin() {
    local nvcc home version source objects=$pack/objects options
    nvcc=$(find_nvcc) || return 1
    home=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
    version=$(sed -n 's/^project(omnid VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
    options=-fPIC,-fvisibility=hidden,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics
    rm -rf "$objects"
    mkdir -p "$objects" || return 1
    for source in kernels/cuda/*.cu; do
        throttle "$(nproc)"
        # shellcheck disable=SC2046 # one option a word
        "$nvcc" -std=c++17 -O3 $(codes) -Xcompiler=$options -I. -Ikernels/cuda/native -c "$source" \
            -o "$objects/$(basename "$source").o" &
    done
    for source in kernels/cuda/*.c $(plugin_shares) base/*.c; do
        "${CC:-cc}" -std=c11 -D_GNU_SOURCE "-DOMNID_VERSION=\"$version\"" -O2 -fPIC -fvisibility=hidden -fno-math-errno -I. \
            -isystem "$home/include" -c "$source" -o "$objects/${source//\//_}.o" || return 1
    done
    wait
    for source in kernels/cuda/*.cu; do
        [ -f "$objects/$(basename "$source").o" ] || return 1
    done
    "$nvcc" -shared -cudart static -o "$pack/bin/libomnid-cuda.so" "$objects"/*.o -ldl -lpthread -lrt -lm && rm -rf "$objects"
}

# The files that the plugin has a copy of, out of its CMakeLists.txt.
plugin_shares() {
    sed -n 's/^add_library(omnid_cuda MODULE//p' kernels/cuda/CMakeLists.txt | tr ' )' '\n' | sed -n 's,^\.\./,kernels/,p'
}

# Makes room for a pack: an earlier one goes, anything else stays.
clear_pack() {
    if [ -e "$pack" ] && [ ! -f "$pack/manifest" ] && ! rmdir "$pack" 2>/dev/null; then
        quit 2 "$pack is there and is no pack (it has no manifest): remove it, or choose another folder (--with)"
    fi
    rm -rf "$pack"
    mkdir -p "$pack/bin" || quit 1 "$pack cannot be written"
    : >"$pack/manifest"
}

# $plugin_of once more, with the plugin of these sources for the GPUs of $archs.
make_plugin() {
    clear_pack
    cp -r "$plugin_of/." "$pack" || quit 1 "$plugin_of cannot be copied"
    build_plugin || quit 1 "the plugin was not compiled"
    sed -i "s/^plugin=.*/plugin=$(plugin_sum)/; s/^archs=.*/archs=$archs/" "$pack/manifest"
}

make_pack() {
    local from=${given_build:-$tree} kib
    clear_pack
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
        print_sums
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
    nvidia-smi -L 2>/dev/null | grep -q '^GPU'
}

runs_here() {
    LD_LIBRARY_PATH=$pack/lib "$pack/bin/omnid-bench" --version >/dev/null 2>&1
}

# The compute capability of the GPU here, without its point.
native_arch() {
    local arch
    arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -dc 0-9)
    echo "${arch:-90}"
}

# Builds into a folder beside the pack, so that one that was carried here stays: what to call it, this script's options for it.
build_here() {
    local name=$1
    shift
    say "building $name from these sources for this GPU"
    if timeout 240 tools/gpu-check.sh "$@" --with "$pack-here" --archs "$(native_arch)" >"$logs/build.log" 2>&1; then
        pack=$pack-here
        return 0
    fi
    say "that failed; the end of $logs/build.log:"
    tail -n 5 "$logs/build.log" | sed 's/^/        /'
    return 1
}

# A pack that fits, else what can be built here.
find_programs() {
    local fits=0 why=""
    [ -f "$pack/manifest" ] && [ "$(field machine)" = "$(uname -m)" ] && runs_here && fits=1
    if [ $fits = 1 ] && [ "$(field programs)" = "$(programs_sum)" ]; then
        say "$pack: packed on $(field date)"
        [[ ";$(field archs);" == *";$(native_arch);"* ]] || why="it was not compiled for this GPU"
        [ "$(field plugin)" = "$(plugin_sum)" ] || why="its plugin is of other sources than these"
        [ -n "$why" ] || return
        say "$why"
        build_here "the plugin" --plugin-of "$pack" && return
        [ "$(field plugin)" != "$(plugin_sum)" ] || return # what is in it for GPUs to come may run
    elif command -v cmake >/dev/null && command -v pkg-config >/dev/null && build_here "everything" --pack; then
        return
    fi
    [ $fits = 1 ] || quit 69 "nothing to run: $pack does not fit this machine and nothing can be built; run tools/gpu-check.sh --pack where cmake and the libraries are, and copy $pack here"
    note sources failed 0 "what is in $pack is of other sources than these"
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

# Runs one of many: the step's name, its own, seconds, command…; adds "name status" to the step's list.
one_of_many() {
    local step=$1 name=$2 most=$3
    shift 3
    timeout --kill-after=5 "$most" "$@" >"$logs/$step-${name//[^A-Za-z0-9._-]/-}.log" 2>&1
    echo "$name $?" >>"$logs/$step.list"
}

# Many programs side by side as one step: name, seconds for all, seconds for each, at once, then lines "name command…" on stdin.
many() {
    local name=$1 most each=$3 jobs=$4 begin=$SECONDS line rest total good bad cut skipped
    wanted "$name" || return 0
    most=$(share "$2")
    : >"$logs/$name.list"
    total=0
    while read -r line; do
        total=$((total + 1))
        throttle "$jobs"
        rest=$((most - (SECONDS - begin)))
        if [ $rest -le 0 ]; then
            echo "${line%% *} 124" >>"$logs/$name.list"
            continue
        fi
        # shellcheck disable=SC2086 # the line is a command with its arguments
        one_of_many "$name" "${line%% *}" $((rest < each ? rest : each)) ${line#* } </dev/null &
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
    echo "M2/audio,graphs $pack/bin/golden_answers M2 audio cuda 0 0 graphs"
    echo "M3/stream,graphs $pack/bin/golden_answers M3 stream cuda 0 0 graphs"
    echo "bf16 $pack/bin/golden_bf16 cuda"
    echo "int8 $pack/bin/golden_int8 cuda"
    echo "together $pack/bin/engine_together"
}

# Ops whose warps share memory between barriers.
list_racy() {
    list_ops "$1" | grep -E '^(linear|select|score|attend|rmsnorm|layernorm|keep|sample|similarity|encoder_attention) '
}

sanitizer() {
    local tool=compute-sanitizer
    command -v $tool >/dev/null || tool=${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer
    command -v "$tool" || true
}

run_sanitizers() {
    local tool
    wanted memcheck || wanted racecheck || return 0
    tool=$(sanitizer)
    if [ -z "$tool" ]; then
        note memcheck skipped 0 "compute-sanitizer was not found"
        note racecheck skipped 0 "compute-sanitizer was not found"
        return
    fi
    many memcheck 60 50 6 < <(list_ops "$tool --tool memcheck --report-api-errors no --error-exitcode 99")
    many racecheck 45 40 6 < <(list_racy "$tool --tool racecheck --report-api-errors no --error-exitcode 99")
}

# Folders that hold cuBLASLt where the loader does not look: the toolkit's, and a Python package's. Each with a colon.
blas_folders() {
    local file
    for file in "${CUDA_HOME:-/usr/local/cuda}"/lib64/libcublasLt.so.* \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null)"/nvidia/*/lib/libcublasLt.so.*; do
        [ ! -e "$file" ] || printf '%s:' "$(dirname "$file")"
    done
}

# Shape, most seconds, how many of them are kept for the end of the part under way and what follows it, more options.
bench() {
    local ends shape=$1 most=$2 kept=$3
    shift 3
    ends=$(share "$most")
    kept=$((ends > 2 * kept ? kept : ends / 2))
    step "bench-$shape" "$most" "$pack/bin/omnid-bench" --backend cuda --precision bf16 --shape "$shape" --only-live \
        --retention 'none;45;30;20' --budget $((ends - kept + 1)) --json "$logs/bench-$shape.json" "$@"
}

peer() {
    step "peer-$1" "$2" env "LD_LIBRARY_PATH=$given_libraries" python3 bench/peers/transformers_gpu.py --shape "$1" --json "$logs/peer-$1.json"
}

run_all() {
    has_gpu || quit 77 "no GPU: nvidia-smi lists none here; nothing was checked (tools/gpu-check.sh --pack prepares for a machine that has one)"
    logs=$pack-logs
    rm -rf "$logs"
    mkdir -p "$logs" "$out" || quit 1 "$logs and $out have to be writable"
    find_programs
    nvidia-smi >"$logs/nvidia-smi.log" 2>&1
    given_libraries=${LD_LIBRARY_PATH:-}
    LD_LIBRARY_PATH=$pack/lib:$(blas_folders)$given_libraries
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH%:}
    export OMNID_PLUGINS=$pack/bin OMNID_TEST_BACKEND=cuda OMNID_TEST_SOURCE=$root PYTHONUNBUFFERED=1
    many ops 60 45 6 < <(list_ops)
    many golden 60 45 4 < <(list_golden)
    step ceiling 40 sh -c "exec '$pack/bin/device-ceiling' >'$logs/ceiling.json'"
    bench 7b 150 20
    step kernels 30 "$pack/bin/omnid-kernel-bench" 1 3 bf16 lasep cuda 7b
    peer 7b 60
    bench 3b 100 40 --compare-f32
    run_sanitizers
    peer 3b 40
    report
}

report() {
    [ "$out" = bench/results ] || tar -czf "$out/logs.tar.gz" -C "$logs" . # not to be kept: figures are in the report
    python3 bench/gpu_report.py --logs "$logs" --out "$out" --manifest "$pack/manifest" ||
        quit 1 "the report was not made; the figures are in $logs"
    [ $failed = 0 ] || quit 1 "something failed: the report names it, the output is in $logs"
}

main() {
    local what=run_all
    while [ $# -gt 0 ]; do
        case $1 in
        --pack) what=make_pack ;;
        --sums) what=print_sums ;;
        --budget | --out | --with | --build | --archs | --only | --plugin-of)
            [ $# -gt 1 ] || quit 2 "$1 wants a value"
            case $1 in
            --budget) budget=$2 ;;
            --out) out=$2 ;;
            --with) pack=$2 ;;
            --plugin-of) plugin_of=$2 what=make_plugin ;;
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
    pack=$(realpath -m "$pack") out=${out%/}
    [[ $budget =~ ^[0-9]+$ ]] || quit 2 "--budget: want whole seconds, found '$budget'"
    $what
}

main "$@"
