#!/usr/bin/env bash
# run.sh: omnid with a real V4L2 camera and a real ALSA card, in an emulated machine (README.md beside this file).
#
#   tests/vm/run.sh [--build DIR] [CASE…]    DIR: a build (default build-test/release, else build); CASE: only these
#   tests/vm/run.sh --all                    also the cases that are not steady under emulation
#   tests/vm/run.sh --list | --list-all      the cases' names
#
# One boot, about seven minutes on a quiet machine, then the last line "N passed, N failed, N skipped". Where no such machine
# can be made (no root, no apt, no network) every case is skipped, each by its name. Builds nothing. Logs and the frames that
# omnid saw stay in DIR/vm. Exit status: 0 nothing failed, 1 something did, 2 usage, 3 no build.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
limit_s=1500

leave() {
    echo "run.sh: $2" >&2
    exit "$1"
}

# The sound of one of the demo's clips, cut: 16-bit 16 kHz mono. FROM and LENGTH in milliseconds, 32 bytes each.
cut_sound() { # FROM LENGTH
    dd if="$out/clip.raw" bs=32 skip="$1" count="$2" status=none
}

quiet() { # SECONDS
    for ((i = 0; i < $1; i++)); do cut_sound 2000 1000; done
}

# Clip 01: beeps until 1.9 s, the word "music" at 3.2 to 4.0 s, a high tone at 4.8 to 5.7 s, else a quiet noise. Behind word and
# tone two segments' worth of noise, so that the segment they are in is closed before the sound ends.
make_sounds() {
    gst-launch-1.0 -q filesrc location=models/demo/clips/01.mkv ! matroskademux ! opusdec ! audioconvert ! audioresample ! \
        audio/x-raw,format=S16LE,rate=16000,channels=1 ! filesink location="$out/clip.raw" || return
    {
        cut_sound 2000 2500
        quiet 4
    } >"$out/word.raw"
    {
        cut_sound 2000 1000
        cut_sound 4700 1300
        quiet 4
    } >"$out/tone.raw"
    for _ in {1..60}; do cut_sound 4900 750; done >"$out/loud.raw"
    quiet 60 >"$out/silence.raw"
}

# A picture of a clip, from its first second, as NV12 of 640x480, which the camera makes square again: FILE of CLIP.
cut_picture() { # CLIP FILE
    gst-launch-1.0 -q filesrc location="models/demo/clips/$1.mkv" ! matroskademux ! decodebin ! videoconvert ! videoscale \
        add-borders=false ! video/x-raw,format=NV12,width=640,height=480,pixel-aspect-ratio=1/1 ! \
        multifilesink location="$out/picture%d" max-files=0 || return
    mv "$out/picture6" "$2" && rm -f "$out"/picture*
}

# Clip 01 shows an orange cross and a 9 on white, clip 02 a blue triangle.
make_pictures() {
    cut_picture 01 "$out/cross.nv12" && cut_picture 02 "$out/triangle.nv12"
}

build='' names=()
while [ $# -gt 0 ]; do
    case $1 in
    --build)
        build=${2:-}
        shift
        ;;
    --list | --list-all) exec tests/vm/guest.sh "$1" ;;
    --all) mapfile -t names < <(tests/vm/guest.sh --list-all) ;;
    -h | --help)
        sed -n '2,11s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    -*) leave 2 "want --build DIR, --all, --list, --list-all or names of cases, found '$1'" ;;
    *) names+=("$1") ;;
    esac
    shift
done
if [ -z "$build" ]; then
    for build in build-test/release build; do
        [ ! -x "$build/omnid" ] || break
    done
fi
[ -x "$build/vm-events" ] || leave 3 "no build in $build: cmake --preset release && cmake --build build"
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(tests/vm/guest.sh --list)
build=$(realpath "$build")
out=$build/vm
rm -rf "$out"
mkdir -p "$out"
{ make_sounds && make_pictures; } || leave 1 "the demo's clips cannot be decoded: tools/deps.sh demo"

tests/vm/run-vm --timeout $limit_s --mem 1536 --share "$out" -- tests/vm/guest.sh "$build" "$out" "${names[*]}" >"$out/cases" 2>"$out/errors" &
vm=$!
trap 'kill $vm 2>/dev/null; wait $vm; exit 130' INT TERM
tail -n +1 -s 0.5 -f --pid=$vm "$out/cases" 2>/dev/null
wait $vm
status=$?

passed=$(grep -c '^ok ' "$out/cases")
failed=$(grep -c '^FAILED ' "$out/cases")
skipped=0
if [ $status -eq 69 ]; then
    for name in "${names[@]}"; do
        echo "skipped $name ($(tail -n 1 "$out/errors"))"
        skipped=$((skipped + 1))
    done
else
    # A case that says nothing has not passed.
    for name in "${names[@]}"; do
        grep -qE "^(ok|FAILED) +$name( |$)" "$out/cases" && continue
        echo "FAILED  $name (no result; the machine's status is $status: $(tail -n 1 "$out/errors"))"
        failed=$((failed + 1))
    done
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
