#!/usr/bin/env bash
# demo.sh: builds omnid, plays a small clip to it as a live source and asks three questions: one about the picture, one about
# the sound, one about both. Prints the truth beside each answer. No camera, GPU or download. One of the README's two commands.
#
#   tools/demo.sh               a clip of models/demo/clips drawn at random
#   tools/demo.sh --clip 7      clip 07
#   tools/demo.sh --list        which clips there are
#   tools/demo.sh --camera [URI] [--mic URI] [--model DIR|NAME] [--whole]
#                               your camera and microphone: shows what there is, a level meter and a frame, then answers what
#                               you ask. URI: any source of docs/configuration.md. --whole: the demo model gets all of the
#                               picture instead of the square in its middle
#   tools/demo.sh --cards [FILE]    cards to print and hold up, as PDF (omnid-cards.pdf)
#
# Installs missing packages (tools/deps.sh) and builds; OMNID_BIN=DIR uses the programs there instead of building.
# Exit status: 0 when at least two of the three answers agree with the truth (--camera: all were answered), 1 when fewer do
# or something failed, 2 wrong command line, 69 no packages.
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/.."
# shellcheck source=tools/demo_camera.sh
. tools/demo_camera.sh
clips=models/demo/clips
bin=${OMNID_BIN:-build}
folder=
daemon=
video='' audio='' model='' whole=0 # --camera

fail() {
    echo "demo.sh: $*" >&2
    exit 1
}

clean_up() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    [ -z "$folder" ] || rm -rf "$folder"
}

# Numbers of the clips that have questions, one a line.
clip_names() {
    local file
    for file in "$clips"/*.json; do
        if [ -f "${file%.json}.mkv" ]; then
            basename "$file" .json
        fi
    done
}

build() {
    [ -z "${OMNID_BIN:-}" ] || return 0
    echo "Building omnid (the first time takes a minute or two) …"
    { cmake --preset release && cmake --build build --target omnid omnid-ask omnid-devices omnid-mic; } >"$folder/build.log" 2>&1 ||
        {
            tail -n 30 "$folder/build.log" >&2
            fail "the build failed"
        }
}

ask() {
    "$bin/omnid-ask" --socket "$folder/ask.sock" --timeout 60 "$@"
}

# The daemon's status as one JSON object, or nothing while it does not answer.
status() {
    ask --json --status 2>/dev/null || true
}

start_daemon() {
    "$bin/omnid" --config=/dev/null --omnid.runtime_dir="$folder" --omnid.log=warning --model.path="$PWD/models/demo" \
        --camera.demo.video="file:$PWD/$1" --camera.demo.window_s=64 >"$folder/omnid.log" 2>&1 &
    daemon=$!
}

# Waits until the clip has been played in real time and every segment is visible.
wait_for_end() {
    local left=$1 state
    echo "Playing $left s in real time as a live source …"
    for ((left += 60; left > 0; left--)); do
        kill -0 "$daemon" 2>/dev/null || {
            cat "$folder/omnid.log" >&2
            fail "the daemon has ended"
        }
        state=$(status | jq -r '.cameras[0] | select(.waiting == 0 and .visible > 0) | .video.state' 2>/dev/null || true)
        [ "$state" != ended ] || return 0
        sleep 1
    done
    cat "$folder/omnid.log" >&2
    fail "the clip did not come to its end"
}

# Lower case, letters and digits only, one space between words.
plain() {
    tr '[:upper:]' '[:lower:]' <<<"$*" | tr -c '[:alnum:]\n' ' ' | tr -s ' ' | sed 's/^ //; s/ $//'
}

# Does the answer ($1) agree with the question's ($2, JSON) answer or one of those it accepts?
agrees() {
    local wanted
    while IFS= read -r wanted; do
        [ "$(plain "$1")" != "$(plain "$wanted")" ] || return 0
    done < <(jq -r '.answer, (.accept // [] | .[])' <<<"$2")
    return 1
}

# Asks one question of the clip (JSON), prints its lines of the table; status 0: it agrees.
ask_one() {
    local text done_event answer mark=no
    text=$(jq -r .question <<<"$1")
    done_event=$(ask --json --max-tokens 16 "$text" 2>"$folder/ask.log" | tail -n 1) || cat "$folder/ask.log" >&2
    [ -n "$done_event" ] || done_event='{}'
    answer=$(jq -r '.text // ("(" + (.code // "no answer") + ")") | gsub("\\s+"; " ") | .[0:60]' <<<"$done_event")
    ! agrees "$answer" "$1" || mark=yes
    printf '%-9s %s\n' "$(jq -r .modality <<<"$1")" "$text"
    printf '          truth: %-14s answer: %-14s agrees: %-4s first token: %s ms   retained: %s %%\n' \
        "$(jq -r .answer <<<"$1")" "$answer" "$mark" \
        "$(jq -r '.timings.ttft_ms // 0 | . * 10 | round / 10' <<<"$done_event")" \
        "$(jq -r '.retention // 0 | . * 1000 | round / 10' <<<"$done_event")"
    printf '          evidence: %s\n' "$(jq -r '[.evidence // [] | .[] |
        "\(.segment * 2)-\(.segment * 2 + 2) s (\(.weight * 100 | round) %, \(.audio_share * 100 | round) % of it sound)"] |
        join(", ")' <<<"$done_event")"
    [ "$mark" = yes ]
}

# The first question of each modality, one JSON object a line.
three_questions() {
    jq -c '.questions as $q | ["visual", "audible", "cross"][] as $m |
        [$q[] | select(.modality | startswith($m))] | first // empty' "$1"
}

play() {
    local json=$clips/$1.json agreed=0 asked=0 question
    local -a questions
    mapfile -t questions < <(three_questions "$json")
    start_daemon "$clips/$1.mkv"
    wait_for_end "$(jq -r '.seconds // 12' "$json")"
    echo
    for question in "${questions[@]}"; do
        asked=$((asked + 1))
        ! ask_one "$question" || agreed=$((agreed + 1))
    done
    echo
    echo "clip $1: $agreed of $asked answers agree with the truth"
    [ "$asked" -eq 3 ] || fail "clip $1 has no question of each kind"
    [ "$agreed" -ge 2 ]
}

usage() {
    echo "demo.sh: $*; --help tells the options" >&2
    exit 2
}

# A path as the one who called meant it: this script has gone to the repository.
from_caller() {
    case $1 in
    /*) echo "$1" ;;
    *) echo "$caller/$1" ;;
    esac
}

# The page of cards, to a file of the reader's.
copy_cards() {
    local file
    file=$(from_caller "${1:-omnid-cards.pdf}")
    [ ! -d "$file" ] || file=$file/omnid-cards.pdf
    cp models/demo/cards.pdf "$file" || fail "cannot write $file"
    echo "$file: print it (A4), cut along the lines, hold a card up so that it fills the picture, and ask what stands below it."
}

prepare() {
    tools/deps.sh demo
    folder=$(mktemp -d)
    trap clean_up EXIT
    build
}

play_clip() {
    local clip=$1 names
    mapfile -t names < <(clip_names)
    [ ${#names[@]} -gt 0 ] || fail "there are no clips in $clips"
    [ -n "$clip" ] || clip=${names[RANDOM % ${#names[@]}]}
    [ -f "$clips/$clip.json" ] || fail "there is no clip $clip; there are: ${names[*]}"
    prepare
    play "$clip"
}

main() {
    local clip='' what=clip
    while [ $# -gt 0 ]; do
        case $1 in
        --clip)
            [[ ${2:-} =~ ^[0-9]+$ ]] || usage "--clip wants a number"
            clip=$(printf '%02d' "$((10#$2))")
            shift
            ;;
        --list)
            clip_names
            exit 0
            ;;
        --camera)
            what=camera
            if [ -n "${2:-}" ] && [ "${2#--}" = "$2" ]; then
                video=$2
                shift
            fi
            ;;
        --mic | --model)
            [ -n "${2:-}" ] || usage "$1 wants a value"
            if [ "$1" = --mic ]; then
                audio=$2
            else
                model=$2
                [ ! -d "$(from_caller "$model")" ] || model=$(from_caller "$model")
            fi
            shift
            ;;
        --whole) whole=1 ;;
        --cards)
            copy_cards "${2:-}"
            exit 0
            ;;
        -h | --help)
            sed -n '2,19s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *) usage "want --clip N, --list, --camera, --cards or nothing, found '$1'" ;;
        esac
        shift
    done
    if [ $what = camera ]; then
        prepare
        watch_live
    elif [ -n "$audio$model" ] || [ $whole = 1 ]; then
        usage "--mic, --model and --whole go with --camera"
    else
        play_clip "$clip"
    fi
}

main "$@"
