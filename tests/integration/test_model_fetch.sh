#!/usr/bin/env bash
# test_model_fetch.sh OMNID_MODEL OMNID HTTP_SERVER MAKE_HUB: fetches from a server on this machine that drops connections,
# lies, refuses and sends elsewhere; every sentence a person may see, and what is on the disk afterwards.
set -uo pipefail
omnid_model=$1 omnid=$2 http_server=$3 make_hub=$4
# Files are made safe with fsync: in memory that takes no time.
base=${TMPDIR:-/tmp}
[ ! -w /dev/shm ] || base=/dev/shm
world=$(mktemp -d -p "$base")
commit=0123456789abcdef0123456789abcdef01234567
served=$world/hub/me/tiny/resolve/$commit
model=$world/models/me--tiny
first="model-00001-of-00004.safetensors"
failed=0 n_checks=0
servers=()

unset HF_TOKEN HF_HOME HF_HUB_OFFLINE HUGGING_FACE_HUB_TOKEN HF_TOKEN_PATH
unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
export OMNID_MODELS=$world/models HOME=$world XDG_DATA_HOME=$world/data XDG_CACHE_HOME=$world/cache

cleanup() {
    [ ${#servers[@]} -eq 0 ] || kill "${servers[@]}" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$world"
}
trap cleanup EXIT

# Waits until the command succeeds; 30 s.
wait_for() {
    local i
    for ((i = 0; i < 600; i++)); do
        "$@" && return 0
        sleep 0.05
    done
    return 1
}

# Starts a server: folder, then faults. Its address is $address, its log $log.
server() {
    local root=$1
    shift
    rm -f "$world/port"
    log=$world/log-${#servers[@]}
    : >"$log"
    "$http_server" "$root" "$world/port" "$log" "$@" >/dev/null 2>&1 </dev/null &
    servers+=($!)
    wait_for test -s "$world/port" || exit 1
    address=http://127.0.0.1:$(cat "$world/port")
}

# A fresh store and a hub with these faults.
hub() {
    rm -rf "$world/models"
    server "$world/hub" "$@"
    export HF_ENDPOINT=$address
}

problem() {
    failed=$((failed + 1))
    echo "FAILED: $name: $1"
    sed 's/^/    /' "$world/out"
}

# Runs omnid-model: exit status wanted, a part of what it says, arguments…
expect() {
    local want=$1 sentence=$2 got
    shift 2
    n_checks=$((n_checks + 1))
    "$omnid_model" "$@" >"$world/out" 2>&1 </dev/null
    got=$?
    [ $got -eq "$want" ] || problem "want exit $want, found $got"
    grep -qF -- "$sentence" "$world/out" || problem "want '$sentence'"
}

fetch() {
    local want=$1 sentence=$2
    shift 2
    expect "$want" "$sentence" fetch me/tiny --yes --retry-delay 0.02 --retries 4 "$@"
}

# What is wanted is there, byte for byte, and nothing else.
whole() {
    local file
    n_checks=$((n_checks + 1))
    for file in config.json tokenizer.json LICENSE generation_config.json preprocessor_config.json \
        model.safetensors.index.json model-0000{1,2,3}-of-00004.safetensors; do
        cmp -s "$served/$file" "$model/$file" || problem "$file differs"
    done
    [ "$(find "$model" -type f | wc -l)" = 10 ] || problem "more or less than the 9 files and the record: $(ls "$model")"
    grep -q '"complete": true' "$model/omnid-fetch.json" || problem "the record does not say complete"
}

says() {
    grep -qF -- "$1" "$world/out" || problem "want '$1'"
}

logged() {
    grep -qE -- "$1" "$log" || problem "want a request like '$1': $(cat "$log")"
}

not_logged() {
    ! grep -qE -- "$1" "$log" || problem "want no request like '$1': $(grep -E -- "$1" "$log")"
}

"$make_hub" "$world/hub" || exit 1

# ---------------------------------------------------------------- what goes right

name="a plain fetch"
hub
fetch 0 "fetched: $model"
whole
says "licence  tiny-research"
says "1 more with nothing for omnid in it is left out"
says " free"
says "fits"
says "Use it: omnid --model me/tiny"
not_logged 'model-00004|README|spk_dict|onnx'
expect 0 "is here already" fetch me/tiny --yes
expect 0 "all 9 files are as the hub lists them" check me/tiny --hashes
says "1 without use (thinker.audio_tower.audio_bos_eos_token.weight)"
says "KV"
expect 0 "ready" list
says "qwen2.5-omni-3b"
name="omnid finds it by name"
"$omnid" --config=/dev/null --model me/tiny --check >"$world/out" 2>&1 || problem "exit $?"
says "model: $model"
"$omnid" --config=/dev/null --model qwen2.5-omni-7b --check >"$world/out" 2>&1
[ $? -eq 66 ] || problem "want exit 66"
says "\`omnid-model fetch qwen2.5-omni-7b\`"
says "Here are: me--tiny"

name="a damaged file"
printf 'x' | dd of="$model/$first" bs=1 seek=50000 conv=notrunc 2>/dev/null
expect 0 "fits" check me/tiny
expect 65 "$first has another hash than the hub lists" check me/tiny --hashes
name="a missing shard"
mv "$model/$first" "$world/kept"
expect 66 "1 of 9 files are missing or cut short: omnid-model fetch me/tiny goes on" check me/tiny
expect 0 "not complete: 1 of 9 files to come" list
mv "$model/omnid-fetch.json" "$world/record"
expect 66 "shard $first is missing" check "$model"
"$omnid" --config=/dev/null --model me/tiny >"$world/out" 2>&1
[ $? -eq 66 ] || problem "want omnid to leave with 66"
says "shard $first is missing"
expect 66 "was not fetched by omnid-model" check me/tiny --hashes
name="files without a record are hashed, the damaged one comes anew"
mv "$world/kept" "$model/$first"
: >"$log"
fetch 0 "the hash is not the one that the hub lists"
whole
not_logged 'model-00002'

name="a record that is torn"
echo '{"commit": 3' >"$model/omnid-fetch.json"
expect 65 "omnid-fetch.json is not JSON" check me/tiny
fetch 0 "fetched"
whole
name="memory"
expect 1 "does not fit" check me/tiny --memory 0.1
says "of that  weights 266 KB, KV of 64 s of one camera"
says "a machine, or a control group, with"
says "sound, but it does not fit: it needs"
expect 0 "in bf16; this machine" check me/tiny --precision bf16
expect 0 "in int8 weights and f32; this machine" check me/tiny --precision f32 --weights int8
expect 2 "--weights: want auto or int8, found 'int4'" check me/tiny --weights int4
expect 66 "no such folder, and no model of that name" check nonsense
expect 66 "fetch it with \`omnid-model fetch a/b\`" check a/b

# ---------------------------------------------------------------- the line breaks

name="dropped connections"
hub "$first:drop:7000:5"
fetch 0 "the connection broke"
whole
logged "$first range=bytes=7000- "
logged "$first range=bytes=35000- "
name="dropped for ever without a byte"
hub "$first:drop:0"
fetch 69 "Gave up after 5 tries; what has come is kept"
name="a stalled server"
hub "$first:stall:9000:1"
fetch 0 "nothing came for 1 s" --stall 1
whole
logged "$first range=bytes=9000- "
name="no server"
hub
export HF_ENDPOINT=http://127.0.0.1:1
fetch 69 "cannot reach the server"
says "try 2 of 5"

name="killed and gone on"
hub "$first:stall:20000:1"
"$omnid_model" fetch me/tiny --yes --stall 600 >"$world/out" 2>&1 </dev/null &
pid=$!
grown() {
    [ "$(find "$model" -name "$first.*.part" -size +16k 2>/dev/null | wc -l)" = 1 ]
}
wait_for grown || problem "no part grew"
expect 75 "another omnid-model is fetching into $model" fetch me/tiny --yes
kill -KILL $pid
wait $pid 2>/dev/null
[ -e "$model/$first" ] && problem "half a shard has its name already"
expect 66 "omnid-model fetch me/tiny goes on" check me/tiny
fetch 0 "of it is here"
whole
logged "$first range=bytes=20000- "

name="Ctrl-C"
hub "$first:stall:20000:1"
"$omnid_model" fetch me/tiny --yes --stall 600 >"$world/out" 2>&1 </dev/null &
pid=$!
wait_for grown || problem "no part grew"
kill -INT $pid
wait $pid
[ $? -eq 130 ] || problem "want exit 130"
says "interrupted; what has come is kept: run the same command again to go on"
fetch 0 "fetched"
whole

# ---------------------------------------------------------------- the server lies

name="wrong bytes once"
hub "$first:corrupt:100:1"
fetch 0 "thrown away, once more from the start"
whole
name="wrong bytes for ever"
hub "$first:corrupt:100"
fetch 65 "$first: came twice with another hash than the hub lists"
[ -z "$(find "$model" -name "$first*")" ] || problem "a wrong shard was kept"
name="wrong bytes of a file that is read first"
hub "config.json:corrupt:100"
fetch 65 "config.json came with another hash than the hub lists"
name="a length that is too large"
hub "$first:length:10"
fetch 65 "the hub lists 50720 bytes, the server announces 50730"
name="a length that is too small"
hub "$first:length:-10"
fetch 65 "the hub lists 50720 bytes, the server announces 50710"
name="more bytes than listed, of which the first are right"
hub "$first:more:10"
fetch 0 "fetched"
whole
name="Range ignored"
hub "$first:drop:20000:1" "$first:norange"
fetch 0 "fetched"
whole
name="another range than asked for"
hub "$first:drop:20000:1" "$first:badrange:0:2"
fetch 0 "asked from byte 20000 on, the server sends from 10000"
whole
name="another size in the range"
hub "$first:drop:20000:1" "$first:total:5"
fetch 65 "the hub lists 50720 bytes, the server has 50725"

# ---------------------------------------------------------------- the server refuses

name="busy"
hub "/api/:status:429,Retry-After: 1:2"
fetch 0 "HTTP 429 (too many requests); again in 1 s"
hub "/api/:status:429,Retry-After: 7200"
fetch 75 "wants 2 h 0 min of patience"
name="errors that pass"
hub "$first:status:503:2" "$first:status:500:1"
fetch 0 "HTTP 503"
whole
hub "$first:status:500"
fetch 69 "HTTP 500. Gave up after 5 tries"
name="not found"
hub
expect 66 "no such model or file (HTTP 404: EntryNotFound)" fetch me/other --yes
hub "/api/:status:404,X-Error-Code: RevisionNotFound"
expect 66 "no such revision" fetch me/tiny@v9 --yes
logged "/api/models/me/tiny/revision/v9 "
name="a private or gated model"
hub "/:auth:secret"
fetch 77 "for a private or gated model set HF_TOKEN"
HF_TOKEN=wrong fetch 66 "no such model to this token"
HF_TOKEN=secret fetch 0 "fetched"
whole
hub "/resolve/:status:403,X-Error-Code: GatedRepo"
fetch 77 "the model is gated: GatedRepo. Accept its terms on its page on the hub, then set HF_TOKEN"
hub "/:status:403"
HF_TOKEN=x fetch 77 "the hub refuses this token (HTTP 403). Make a new token"
name="the token's file"
hub "/:auth:secret"
mkdir -p "$world/hf"
echo secret >"$world/hf/token"
HF_HOME=$world/hf fetch 0 "fetched"

# ---------------------------------------------------------------- where the token may go

name="a redirection to another host"
server "$world/hub"
cdn=$address cdn_log=$log
hub "safetensors:redirect:$cdn"
HF_TOKEN=secret fetch 0 "fetched"
whole
logged "$first .*auth=Bearer secret"
log=$cdn_log
logged "$first "
not_logged "Bearer"
name="a redirection to another name of this machine"
hub
twin=http://localhost:${address##*:} twin_log=$log
hub "$first:redirect:$twin"
HF_TOKEN=secret fetch 0 "fetched"
logged "$first .*auth=Bearer secret"
log=$twin_log
logged "$first range= auth= host=localhost"
name="redirections without an end"
hub "$first:redirect:/x"
fetch 69 "more than 8 redirections"
name="a redirection to a file"
hub "$first:redirect:file://"
fetch 69 "a URL that is not http or https: not followed"
name="a proxy, and a token that would go unencrypted"
hub
http_proxy=$address HF_ENDPOINT=http://hub.invalid HF_TOKEN=secret fetch 0 "HF_ENDPOINT is not https: the token is not sent"
whole
logged "host=hub.invalid"
not_logged "Bearer"

# ---------------------------------------------------------------- the disk, the person, the repository

name="a disk that is too small"
cp -r "$world/hub" "$world/huge"
sed -i "s/\(\"$first\", \"size\": \)[0-9]*\(.*\"size\": \)[0-9]*/\1900000000000000000\2900000000000000000/" \
    "$world/huge/api/models/me/tiny/revision/main"
rm -rf "$world/models"
server "$world/huge"
HF_ENDPOINT=$address fetch 73 "the disk is too small: 900 PB are to come"
[ -e "$model" ] && problem "a folder was made"
name="a disk that fills"
hub
(
    ulimit -f 30
    fetch 73 "the disk is full"
    exit $failed
) || failed=$((failed + 1))
fetch 0 "fetched"
whole
name="a folder that cannot be made"
hub
OMNID_MODELS=$world/port fetch 74 "cannot make $world/port/me--tiny"
name="nobody to ask"
hub
expect 1 "add --yes to fetch without a question" fetch me/tiny
not_logged "tokenizer.json"
name="asked at a terminal"
if command -v script >/dev/null; then
    echo n | script -qec "'$omnid_model' fetch me/tiny" /dev/null >"$world/out" 2>&1
    says "Fetch it? [y/N]"
    says "not fetched"
    [ -e "$model" ] && problem "something was fetched after a no"
    echo y | script -qec "'$omnid_model' fetch me/tiny" /dev/null >"$world/out" 2>&1
    says "100%"
    whole
else
    echo "not run: $name (no script program)"
fi
name="no model for omnid"
cp -r "$world/hub" "$world/odd"
page=$world/odd/api/models/me/tiny/revision/main
odd() {
    rm -rf "$world/models"
    server "$world/odd"
    HF_ENDPOINT=$address fetch "$@"
}
sed 's/"tokenizer.json"/"tokenizer.bin"/' "$world/hub/api/models/me/tiny/revision/main" >"$page"
odd 66 "the repository has no tokenizer.json"
sed 's/safetensors/bin/' "$world/hub/api/models/me/tiny/revision/main" >"$page"
odd 66 "omnid reads safetensors only"
sed "s/\"$first\"/\"else.safetensors\"/" "$world/hub/api/models/me/tiny/revision/main" >"$page"
odd 65 "shard $first is named by model.safetensors.index.json, but the hub does not list it"
echo '<html>' >"$page"
odd 65 "the hub's answer is not JSON"
echo '{"sha": "x"}' >"$page"
odd 65 "is HF_ENDPOINT a model hub?"
config='{"model_type": "llama"}'
printf '%s' "$config" >"$world/odd/me/tiny/resolve/$commit/config.json"
hash=$({ printf 'blob %d\0' ${#config}; printf '%s' "$config"; } | sha1sum | cut -c 1-40)
sed "s/\(\"config.json\", \"size\": \)[0-9]*, \"blobId\": \"[0-9a-f]*\"/\1${#config}, \"blobId\": \"$hash\"/" \
    "$world/hub/api/models/me/tiny/revision/main" >"$page"
odd 65 "me/tiny is no model for omnid: config.json: want the architecture qwen2_5_omni, found \"llama\""

name="the command line"
hub
expect 2 "want qwen2.5-omni-3b, qwen2.5-omni-7b or ORG/NAME" fetch ../../etc --yes
expect 2 "want a command" --yes
expect 2 "want the command fetch, list or check, found 'get'" get x
expect 2 "want the name of a model" fetch
expect 2 "--retries: want a number" fetch me/tiny --retries many
expect 0 "Exit status" --help
HF_HUB_OFFLINE=1 expect 69 "HF_HUB_OFFLINE is set" fetch me/tiny
HF_ENDPOINT=ftp://x expect 2 "HF_ENDPOINT: want https://HOST" fetch me/tiny

echo "$n_checks checks, $failed failed"
[ $failed -eq 0 ]
