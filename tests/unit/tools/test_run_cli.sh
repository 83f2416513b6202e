#!/usr/bin/env bash
# omnid-run's command line: wrong ones are refused with exit 2, what cannot be opened with exit 1, each with a sentence.
# Argument: the program.
set -uo pipefail
run=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# expect STATUS WORDS ARG…: the exit status, and words that stderr must hold.
expect() {
    local want=$1 words=$2 out status
    shift 2
    out=$("$run" "$@" 2>&1 >/dev/null)
    status=$?
    if [ "$status" -ne "$want" ] || ! grep -q -- "$words" <<<"$out"; then
        echo "FAILED: $*: want exit $want and '$words', found $status and: $out"
        failed=1
    fi
}

# A second of silence and one black frame of 28x28.
{ printf 'RIFF\x24\x7d\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x7d\x00\x00'; head -c 32000 /dev/zero; } >"$dir/a.wav"
header="{'descr': '|u1', 'fortran_order': False, 'shape': (1, 28, 28, 3), }"
{ printf '\x93NUMPY\x01\x00%b\x00%s\n' "\\x$(printf '%02x' $((${#header} + 1)))" "$header"; head -c 2352 /dev/zero; } >"$dir/f.npy"
head -c 1000 "$dir/a.wav" >"$dir/torn.wav"
echo nonsense >"$dir/text"
clip=(--audio "$dir/a.wav" --frames "$dir/f.npy")

expect 2 '--model is missing' --question Q "${clip[@]}"
expect 2 '--video FILE, or --frames' --model M --question Q
expect 2 '--video FILE, or --frames' --model M --question Q --video V "${clip[@]}"
expect 2 '--question Q or --questions' --model M "${clip[@]}"
expect 2 'whole number' --model M --question Q "${clip[@]}" --max-tokens 1.5
expect 2 'from 1 to 4096' --model M --question Q "${clip[@]}" --max-tokens 0
expect 2 'from 1 to 4096' --model M --question Q "${clip[@]}" --max-tokens nan
expect 2 '--mode' --model M --question Q "${clip[@]}" --mode lazy
expect 2 '--precision' --model M --question Q "${clip[@]}" --precision f64
expect 2 "--weights: want auto or int8, found 'int4'" --model M --question Q "${clip[@]}" --weights int4
expect 2 '--stream: want W' --model M --question Q "${clip[@]}" --stream 4,5
expect 2 '--stream: want W' --model M --question Q "${clip[@]}" --stream 0
expect 2 '--gaps: want' --model M --question Q "${clip[@]}" --stream 4 --gaps 3:x
expect 2 '--gaps: want' --model M --question Q "${clip[@]}" --stream 4 --gaps 3
expect 2 'need --stream' --model M --question Q "${clip[@]}" --ask-at 3
expect 2 'does not know its end' --model M --question Q "${clip[@]}" --stream 4 --mel-reference clip
expect 2 'go together' --tokenize "$dir/text"
expect 2 'only options' --model M --question Q "${clip[@]}" word
expect 2 'unrecognized option' --bogus
expect 1 'No such file' --model M --question Q --audio "$dir/none.wav"
expect 1 'torn' --model M --question Q --audio "$dir/torn.wav"
expect 1 'not a WAV' --model M --question Q --audio "$dir/text"
expect 1 'not a .npy' --model M --question Q --frames "$dir/text"
expect 1 'regular file' --model M --question Q --frames "$dir"
expect 1 "$dir/none" --model "$dir/none" --question Q "${clip[@]}"
expect 1 'text:1:' --model "$dir/none" --question Q "${clip[@]}" --history "$dir/text"
expect 1 'none.json' --tokenizer "$dir/none.json" --tokenize "$dir/text"
"$run" --help | grep -q 'Exit status: 0 answered' || {
    echo "FAILED: --help"
    failed=1
}
[ $failed -eq 0 ] && echo "omnid-run's command line: all as expected"
exit $failed
