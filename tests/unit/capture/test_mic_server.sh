#!/usr/bin/env bash
# test_mic_server.sh LISTEN HELPER: a microphone behind a sound server, as desktops have it: PulseAudio with what a
# sink plays for a microphone, ALSA's `default` going to it, omnid-mic, mic:default. The server's end, and its return.
#
# LISTEN: vm-mic-listen; HELPER: omnid-mic. Exit status 77: there is no PulseAudio or no ALSA plugin for it.
set -euo pipefail

listen=$1
export OMNID_MIC_HELPER=$2
work=$(mktemp -d)
server='' listener=''

finish() {
    [ -z "$listener" ] || kill "$listener" 2>/dev/null || true
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

die() {
    echo "test_mic_server: FAILED: $*" >&2
    tail -n 20 "$work"/*.log >&2 || true
    exit 1
}

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
    local what=$2 until=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || die "$what"
        sleep 0.2
    done
}

# A server of this test's own: nothing is started for, or taken from, whoever runs the test.
export HOME=$work XDG_RUNTIME_DIR=$work XDG_CONFIG_HOME=$work PULSE_SERVER=unix:$work/socket DBUS_SESSION_BUS_ADDRESS=none
for program in pulseaudio pactl; do
    if ! command -v $program >/dev/null; then
        echo "test_mic_server: skipped: no $program here"
        exit 77
    fi
done
if ! ls /usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so >/dev/null 2>&1; then
    echo "test_mic_server: skipped: no ALSA plugin for PulseAudio here (libasound2-plugins)"
    exit 77
fi
printf 'pcm.!default { type pulse }\nctl.!default { type pulse }\n' >"$work/.asoundrc"

serve() {
    rm -f "$work/socket" "$work/pulse/pid"
    pulseaudio -n --daemonize=no --exit-idle-time=-1 --load="module-native-protocol-unix socket=$work/socket auth-anonymous=1" \
        --load='module-null-sink sink_name=out' --load='module-sine sink=out frequency=440' >>"$work/server.log" 2>&1 &
    server=$!
    wait_for 60 'the server starts' pactl set-default-source out.monitor
}

told() { # FROM_LINE PATTERN: whether the listener has said so
    tail -n "+$1" "$work/heard.log" | grep -q -E "$2"
}

serve
"$listen" list >"$work/list.log"
grep -q '^mic:default | .*sound server' "$work/list.log" || die 'the default is not in the list'
"$listen" mic:default 600 >"$work/heard.log" 2>"$work/heard.err.log" &
listener=$!
wait_for 100 'the tone is heard' told 1 'tone 4(39\.[5-9]|40\.[0-4])[0-9] Hz, 0 missing'
lines=$(wc -l <"$work/heard.log")
kill -KILL "$server"
wait "$server" 2>/dev/null || true
wait_for 60 'the loss is told' told "$((lines + 1))" ' lost: mic:default: '
lines=$(wc -l <"$work/heard.log")
serve
wait_for 60 'it runs again' told "$((lines + 1))" ' running'
wait_for 100 'the tone is heard again' told "$((lines + 1))" 'tone 4(39\.[5-9]|40\.[0-4])[0-9] Hz, 0 missing'
grep -E ' lost| running|segment' "$work/heard.log" | tail -n 12
echo 'test_mic_server: passed'
