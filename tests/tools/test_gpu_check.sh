#!/usr/bin/env bash
# test_gpu_check.sh SOURCE BENCH SHAPE: the logic of tools/gpu-check.sh and of its report, without a GPU: what it says and how it exits
# where there is none, bad options, the report of a small run made here, and a whole run of programs that only pretend.
set -uo pipefail
source=$1 bench=$2 shape=$3
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0

# what, got, wanted (a pattern)
same() {
    # shellcheck disable=SC2053 # a pattern
    if [[ $2 != $3 ]]; then
        echo "$1: found '$2', wanted '$3'"
        bad=1
    fi
}

# A PATH whose nvidia-smi finds nothing.
mkdir "$work/bin"
printf '#!/bin/sh\necho "No devices were found"\nexit 6\n' >"$work/bin/nvidia-smi"
chmod +x "$work/bin/nvidia-smi"

said=$(PATH=$work/bin:$PATH "$source/tools/gpu-check.sh" --out "$work/none" 2>&1)
same "exit without a GPU" $? 77
same "sentence without a GPU" "$said" "gpu-check.sh: no GPU: nvidia-smi lists none here; nothing was checked*"
same "nothing is written" "$(ls -A "$work/none" 2>/dev/null)" ""
for words in "--nonsense" "--budget" "--budget soon"; do
    # shellcheck disable=SC2086 # words
    "$source/tools/gpu-check.sh" $words >/dev/null 2>&1
    same "exit of '$words'" $? 2
done

# A run's folder: the bench's own figures of a tiny model, the rest written here.
mkdir "$work/logs"
"$bench" --backend reference --precision f32 --shape "$shape" --only-live --compare-f32 --quick --side 2 --tokens 2 --segments 2 \
    --minutes 0.1,0.2 --retention 'none;30' --json "$work/logs/bench-7b.json" >"$work/bench.log" 2>&1
same "exit of omnid-bench" $? 0
for part in '"ttft idle"' '"ttft during ingest"' '"segment, throughput"' '"segment, latency"' '"decode a token"' '"length"' \
    '"at once"' '"cameras"' '"logit cosine"' '"logit cosine, forced"'; do
    same "$part in the figures" "$(grep -c "$part" "$work/logs/bench-7b.json")" "[1-9]*"
done
cat >"$work/logs/ceiling.json" <<'END'
{"device": "NVIDIA H200", "copy_gb_s": 4300.0, "read_gb_s": 4400.0, "products": [{"m": 8192, "n": 8192, "k": 8192, "tflops": 790}]}
END
cat >"$work/logs/peer-7b.json" <<'END'
{"encode_ms": 20, "segments": 32, "full": {"tokens": 10816, "prefill_ms": 250, "question_ms": 25, "decode_ms_a_token": 24,
 "encode_and_prefill_ms": 890}, "section_4": {"prefill_ms": 120}, "ceilings": {"copy_gb_s": 4200, "product_tflops": 780}}
END
printf 'ops\tpassed\t12\t25 of 25\nracecheck\tcut\t0\tno time left\n' >"$work/logs/steps.tsv"
printf 'M1: cosine 0.999912\nM2: cosine 0.999903\n' >"$work/logs/golden-bf16.log"
python3 "$source/bench/gpu_report.py" --logs "$work/logs" --out "$work/out" >"$work/report.log" 2>&1
same "exit of the report" $? 0
report=$work/out/nvidia-h200.md
same "goal of the H200" "$(grep -c '^| time to first token, 7b, idle, p50 | ≤ 6.5 ms | [0-9.]* ms | [y*]' "$report")" 1
same "what was not measured" "$(grep -c '^| time to first token, 3b, idle, p50 | ≤ 3.5 ms | not measured | - |' "$report")" 1
same "survivors that were forced" "$(grep -c '^| bf16: survivors that are the same there, 7b, .* 1.*| yes |' "$report")" 1
same "the lowest cosine" "$(grep -c '| 0.999903 | yes |' "$report")" 1
same "a step that was cut" "$(grep -c '^| racecheck | cut | 0 | no time left |' "$report")" 1
same "KV bytes saved" "$(grep -c '^| KV bytes saved against full tokens, 7b, 0.1 minutes' "$report")" 1
same "transformers' figure" "$(grep -c 'one shot | [0-9.]* ms | 890 ms | ' "$report")" 1
same "rows of the CSV" "$(grep -c '^NVIDIA H200,omnid,7b,' "$work/out/nvidia-h200.csv")" "[1-9]*"
python3 "$source/bench/gpu_report.py" --logs "$work/bin" --out "$work/out" >/dev/null 2>&1
same "exit of a report of nothing" $? 1

# A pack of programs that only exit: kernels_add fails, all that the sanitizer is given takes too long.
pack=$work/pack
mkdir -p "$pack/bin" "$pack/lib"
"$source/tools/gpu-check.sh" --sums >"$pack/manifest"
printf 'archs=80;90\ndate=today\n' >>"$pack/manifest"
stub() {
    printf '#!/bin/sh\n%s\n' "$2" >"$1"
    chmod +x "$1"
}
for name in add convert select keep rmsnorm; do
    stub "$pack/bin/kernels_$name" "exit 0"
done
stub "$pack/bin/kernels_add" "echo broken; exit 3"
for name in answers encoders bf16 int8; do
    stub "$pack/bin/golden_$name" 'case "$*" in *cuda | *graphs) echo "cosine 0.9999"; exit 0 ;; *) exit 1 ;; esac'
done
stub "$pack/bin/engine_together" "test \"\$OMNID_TEST_BACKEND\" = cuda"
stub "$pack/bin/omnid-bench" "for word; do [ \"\$last\" = --json ] && cp '$work/logs/bench-7b.json' \"\$word\"; last=\$word; done; exit 0"
stub "$pack/bin/omnid-kernel-bench" "echo '| op | ms |'"
stub "$pack/bin/device-ceiling" "cat '$work/logs/ceiling.json'"
stub "$work/bin/nvidia-smi" 'case "$*" in *compute_cap*) echo 9.0 ;; *) echo "GPU 0: NVIDIA H200" ;; esac'
stub "$work/bin/compute-sanitizer" "exit 124"
said=$(PATH=$work/bin:$PATH "$source/tools/gpu-check.sh" --with "$pack" --out "$work/run" --budget 300 \
    --only ops,golden,ceiling,bench-7b,kernels,racecheck 2>&1)
same "exit of a run with a failure" $? 1
steps=$pack-logs/steps.tsv
same "ops: one failed" "$(grep -c '^ops.failed.*1 of 5: add ' "$steps")" 1
same "golden passed" "$(grep -c '^golden.passed.*14 of 14' "$steps")" 1
same "figures taken" "$(grep -c '^bench-7b.passed' "$steps")$(grep -c '^ceiling.passed' "$steps")" 11
same "no step but those asked for" "$(cut -f 1 "$steps" | sort | tr '\n' ' ')" "bench-7b ceiling golden kernels ops racecheck "
same "what took too long" "$(grep -c '^racecheck.cut.*0 of 3 passed, 3 had no time' "$steps")" 1
same "the run's report" "$(grep -c '^| ops | failed |' "$work/run/nvidia-h200.md")" 1
same "the logs" "$(tar -tzf "$work/run/logs.tar.gz" | grep -c 'ops-add.log')" 1
same "what it says last" "${said##*$'\n'}" "gpu-check.sh: something failed: *"
"$source/tools/gpu-check.sh" --pack --with "$work/bin" >/dev/null 2>&1
same "a folder that is no pack stays" "$? $(find "$work/bin" -type f | wc -l)" "2 2"
[ $bad = 0 ] && echo "passed"
exit $bad
