#!/usr/bin/env bash
# mic.sh: in the emulated machine: a microphone heard through PortAudio, its loss, its return, its sentences.
#
#   run-vm --timeout 600 -- tests/vm/mic.sh BUILD
#
# snd-aloop's card: what is played on hw:0,0 is captured on hw:0,1. BUILD holds vm-mic-listen and omnid-mic.
set -euo pipefail

build=$1
listen=$build/vm-mic-listen
export OMNID_MIC_HELPER=$build/omnid-mic
# All captures of device 1, whatever the card's number: the name without it is shared with device 0.
mic='mic:,1)'
work=$(mktemp -d)
player='' listener=''

die() {
    echo "mic.sh: FAILED: $*" >&2
    for f in "$work"/*.log; do
        [ -e "$f" ] || continue
        echo "--- ${f##*/}" >&2
        tail -n 30 "$f" >&2
    done
    exit 1
}

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
    local seconds=$1 what=$2 until
    shift 2
    until=$((SECONDS + seconds))
    until "$@"; do
        [ $SECONDS -lt $until ] || die "$what: not within $seconds s"
        sleep 0.2
    done
}

no_helper() {
    ! pgrep -x omnid-mic >/dev/null
}

playing() {
    grep -q RUNNING /proc/asound/Loopback/pcm0p/sub0/status
}

# A sine of 440 Hz at half of full scale (-9.0 dBFS), for ever, on the card's playback side.
play() {
    if [ ! -e "$work/tone.wav" ]; then
        gst-launch-1.0 -q audiotestsrc freq=440 volume=0.5 samplesperbuffer=48000 num-buffers=200 \
            ! audio/x-raw,format=S16LE,rate=48000,channels=2 ! wavenc ! filesink location="$work/tone.wav"
    fi
    aplay -q -D hw:Loopback,0 "$work/tone.wav" 2>"$work/aplay.log" &
    player=$!
    wait_for 30 'aplay plays' playing
}

quiet() {
    kill "$player" 2>/dev/null || true
    wait "$player" 2>/dev/null || true
}

start_listening() { # URI SECONDS LOG
    "$listen" "$1" "$2" >"$work/$3.log" 2>"$work/$3.err.log" &
    listener=$!
}

# How many lines of the log match from line N on: count LOG N PATTERN
count() {
    tail -n "+$2" "$work/$1.log" | grep -c -E "$3" || true
}

has() { # LOG FROM_LINE PATTERN
    [ "$(count "$1" "$2" "$3")" -gt 0 ]
}

# says LOG PATTERN COMMAND…: the command, a listener, says so sooner or later.
says() {
    local log=$1 pattern=$2 pid
    shift 2
    "$@" >"$work/$log.log" 2>&1 &
    pid=$!
    wait_for 50 "the sentence '$pattern'" has "$log" 1 "$pattern"
    kill "$pid"
    wait "$pid" 2>/dev/null || true
}

clean_tone='tone 4(39\.[5-9]|40\.[0-4])[0-9] Hz, 0 missing'
good="segment [0-9]+: -(8\.[5-9]|9\.[0-5]) dBFS, $clean_tone"
if_gone='lost: .*(was unplugged|no sound any more|hangs)'

step() {
    echo "mic.sh: [$(cut -d' ' -f1 /proc/uptime)] $*"
}

step 'the list'
"$listen" list | tee "$work/list.log"
grep -q '^mic:Loopback: PCM (hw:0,1) | ' "$work/list.log" || die 'the card is not in the list'

step 'a tone of 440 Hz'
play
start_listening "$mic" 300 first
wait_for 100 'the tone is heard' has first 1 "$good"

step 'in use by another program'
says busy 'lost: .*in use by another program' "$listen" mic:hw:0,1 60

step 'two that fit'
says two 'lost: .*fits 2 microphones' "$listen" mic:Loopback 60

step 'unplugged'
lines=$(wc -l <"$work/first.log")
unplugged=$(cut -d' ' -f1 /proc/uptime)
(echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/unbind) &
unbind=$!
quiet
wait_for 20 'the loss is told' has first "$((lines + 1))" "$if_gone"
wait "$unbind"
lost=$(tail -n "+$((lines + 1))" "$work/first.log" | grep -m 1 -E "$if_gone" | cut -d' ' -f1)
step "lost $(awk -v a="$unplugged" -v b="$lost" 'BEGIN {printf "%.2f", b - a}') s after the card went"

step 'plugged in again'
sleep 3
lines=$(wc -l <"$work/first.log")
plugged=$(cut -d' ' -f1 /proc/uptime)
echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/bind
wait_for 20 'it runs again' has first "$((lines + 1))" ' running'
back=$(tail -n "+$((lines + 1))" "$work/first.log" | grep -m 1 ' running' | cut -d' ' -f1)
step "back $(awk -v a="$plugged" -v b="$back" 'BEGIN {printf "%.2f", b - a}') s after the card came"
lines=$(wc -l <"$work/first.log")
kill "$listener"
wait "$listener" 2>/dev/null || true
wait_for 20 'the helper leaves' no_helper

step 'the daemon dies, its helper with it'
start_listening "$mic" 60 killed
wait_for 40 'it runs' has killed 1 ' running'
pgrep -x omnid-mic >/dev/null || die 'there is no helper program'
kill -KILL "$listener"
wait "$listener" 2>/dev/null || true
wait_for 20 'the helper is gone' no_helper

step 'as another card'
modprobe -r snd_aloop
modprobe snd-aloop pcm_substreams=1 index=3
grep -q '^ 3 ' /proc/asound/cards || die 'the card has not got another number'
play
start_listening "$mic" 150 second
wait_for 100 'the tone is heard from card 3' has second 1 "$good"
kill "$listener"
wait "$listener" 2>/dev/null || true

step 'the default'
quiet
start_listening mic:default 12 default
wait_for 40 'the default runs' has default 1 ' running'
wait "$listener"

step 'no permission'
chmod 600 /dev/snd/*
says permission "lost: .*group 'audio'" setpriv --reuid 65534 --regid 65534 --clear-groups "$listen" mic:hw:3,1 60

grep -h -E ' lost|status|stopped' "$work"/*.log
step 'passed'
