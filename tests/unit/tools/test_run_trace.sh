#!/usr/bin/env bash
# omnid-run on a tiny model: the trace has exactly the agreed keys and its parts fit each other; a cut stream asks about what was
# fed; several questions give a line each.  Arguments: the program, a model folder.
# shellcheck disable=SC2016  # the variables in filters are jq's
set -uo pipefail
run=$1
model=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

wrong() {
    echo "FAILED: $*"
    failed=1
}

# is WHAT FILTER FILE: jq's filter gives true.
is() {
    [ "$(jq "$2" "$3" 2>&1)" = true ] || wrong "$1: $2 gives $(jq -c "$2" "$3" 2>&1 | head -c 300)"
}

# Little-endian 4-byte number.
u32() {
    printf '%b' "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)))"
}

# 5.3 s of noise, 11 frames of 28x56.
n=$((84800 * 2))
{
    printf 'RIFF'
    u32 $((n + 36))
    printf 'WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data'
    u32 $n
    head -c $n /dev/urandom
} >"$dir/a.wav"
header="{'descr': '|u1', 'fortran_order': False, 'shape': (11, 28, 56, 3), }"
{
    printf '\x93NUMPY\x01\x00%b\x00%s\n' "\\x$(printf '%02x' $((${#header} + 1)))" "$header"
    head -c $((11 * 28 * 56 * 3)) /dev/urandom
} >"$dir/f.npy"
clip=(--model "$model" --frames "$dir/f.npy" --audio "$dir/a.wav" --precision f32 --threads 1 --max-tokens 3)

"$run" "${clip[@]}" --question 'What?' --mode offline --retention 30 --trace "$dir/t.json" >"$dir/out" 2>"$dir/err" ||
    wrong "a plain clip: exit $? $(cat "$dir/err")"
is 'keys' 'keys == ["input_ids","layers","logits","mode","position_ids","retained","segments","text","timings","tokens"]' "$dir/t.json"
is 'mode' '.mode == "offline"' "$dir/t.json"
is 'positions' '(.input_ids | length) as $n | [.position_ids[] | length] == [$n, $n, $n]' "$dir/t.json"
is 'segments' '[.segments[] | [.video_tokens, .audio_tokens]] == [[4,50],[4,50],[4,32]]' "$dir/t.json"
is 'kept audio' '[.segments[] | .audio_kept | length] == [35,35,23]' "$dir/t.json"
is 'kept video' '[.segments[] | .video_kept | length] == [3,2,3]' "$dir/t.json"
is 'survivors' 'all(.layers[]; .n == (.survivors | length) and (.survivors == (.survivors | sort | unique)))' "$dir/t.json"
is 'n and k' '.layers as $l | all(range(1; $l | length); $l[.].n == $l[. - 1].n - $l[. - 1].k)' "$dir/t.json"
is 'what entered' '.layers[0].n == 101' "$dir/t.json"
is 'retained' '(([.layers[].n] | add) / (.layers | length) / 144 - .retained) | fabs < 1e-6' "$dir/t.json"
is 'logits' '.logits | length > 100 and all(.[]; type == "number")' "$dir/t.json"
is 'first token' '.tokens[0] == (.logits | . as $x | max as $m | $x | index($m))' "$dir/t.json"
is 'rows read' '(.timings.kv_rows_read | length) == (.layers | length)' "$dir/t.json"
is 'segments taken in' '[.timings.segments[].encoder_calls] == [3,3,3]' "$dir/t.json"

"$run" "${clip[@]}" --question 'What?' --mode eager --stream 2,1 --gaps 0:v --ask-at 4.7 --trace "$dir/s.json" >"$dir/out" 2>"$dir/err" ||
    wrong "a cut stream: exit $? $(cat "$dir/err")"
is 'closed, closed, now' '[.segments[] | [.video_tokens, .audio_tokens]] == [[0,50],[4,50],[2,17]]' "$dir/s.json"
"$run" "${clip[@]}" --question 'What?' --mode eager --stream 2,1 --ask-at 4 --trace "$dir/s.json" >"$dir/out" 2>"$dir/err" ||
    wrong "a stream cut between segments: exit $? $(cat "$dir/err")"
is 'closed, closed' '[.segments[] | [.video_tokens, .audio_tokens]] == [[4,50],[4,50]]' "$dir/s.json"
"$run" "${clip[@]}" --question 'What?' --mode eager --stream 2,1 --ask-at 0 >"$dir/out" 2>"$dir/err"
[ $? -eq 1 ] || wrong "a question before anything was fed: want exit 1"

printf 'What?\n\nWhere is it?\r\n' >"$dir/questions"
"$run" "${clip[@]}" --questions "$dir/questions" >"$dir/lines" 2>"$dir/err" || wrong "--questions: exit $? $(cat "$dir/err")"
[ "$(jq -r .question "$dir/lines")" = $'What?\nWhere is it?' ] || wrong "--questions: $(cat "$dir/lines")"
is 'a line' 'keys == ["question","retained","text","ttft_ms"]' <(head -n 1 "$dir/lines")
"$run" "${clip[@]}" --question 'What?' >"$dir/one" 2>"$dir/err"
[ "$(cat "$dir/one")" = "$(head -n 1 "$dir/lines" | jq -r .text)" ] || wrong "one question and many differ"
"$run" "${clip[@]}" --question 'What?' --choices 'yes|no|maybe' >"$dir/choices" 2>"$dir/err"
[ "$(wc -l <"$dir/choices") $(grep -c '^\*' "$dir/choices")" = '3 1' ] || wrong "--choices: $(cat "$dir/choices")"

printf '"a b"\n"\\u00e9"\n' >"$dir/text"
"$run" --tokenizer "$model/tokenizer.json" --tokenize "$dir/text" >"$dir/ids" || wrong "--tokenize: exit $?"
[ "$(jq -c 'type == "array" and length > 0' "$dir/ids" | sort -u)" = true ] || wrong "--tokenize: $(cat "$dir/ids")"
[ $failed -eq 0 ] && echo "omnid-run's trace: all as expected"
exit $failed
