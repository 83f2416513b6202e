#!/usr/bin/env bash
# service.sh: in the emulated machine: omnid installed, and run by a real systemd as omnid.service, hardening and all.
#
#   run-vm --timeout 420 --mem 1536 -- tests/vm/service.sh BUILD
#
# The machine's PID 1 is not systemd: this boots systemd as PID 1 of a PID namespace of its own, with no units but the
# journal's and omnid's. Everything that is installed lands on the machine's own tmpfs.
set -euo pipefail

build=$1
conf='' manager=''
# A picture that the emulated processor makes and sees with ease.
light='[camera default]
video = test:ball,size=160x120,fps=4
'

die() {
    echo "service.sh: FAILED: $*" >&2
    [ -z "$manager" ] || inside systemctl --no-pager --lines=30 --full status omnid >&2 || true
    tail -n 20 /run/systemd.log >&2 || true
    exit 1
}

say() {
    printf 'service.sh: %5.1f s  %s\n' "$(cut -d' ' -f1 /proc/uptime)" "$*"
}

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
    local seconds=$1 what=$2 until
    shift 2
    until=$((SECONDS + seconds))
    until "$@" >/dev/null; do
        [ $SECONDS -lt $until ] || die "$what: not within $seconds s"
        sleep 0.5
    done
}

# A command in systemd's namespaces: the peer of its socket has to be a process that it can see.
inside() {
    nsenter --target "$manager" --mount --pid -- "$@"
}

property() {
    inside systemctl show --property="$1" --value omnid
}

install_omnid() {
    cmake --install "$build" --strip >/run/install.log 2>&1 || die "cmake --install: $(tail -n 3 /run/install.log)"
    conf=$(sed -n 's/^ExecStart=.* --config //p' "$build/systemd/omnid.service")
    [ -s "$conf" ] || die "no $conf"
    echo "$light" >"$conf"
    systemd-sysusers
    systemd-tmpfiles --create omnid.conf
    [ "$(stat -c %U:%G:%a /var/lib/omnid/models)" = omnid:omnid:755 ] || die "/var/lib/omnid/models"
}

# What GStreamer knows of its plugins, where the machine that built has it: the emulated one takes minutes to find it out.
warm_cache() {
    local registry
    for registry in ~/.cache/gstreamer-1.0/registry.*.bin; do
        [ ! -e "$registry" ] || install -D -o omnid -g omnid "$registry" "/var/cache/omnid/gstreamer-1.0/${registry##*/}"
    done
    [ ! -d /var/cache/omnid ] || chown -R omnid:omnid /var/cache/omnid
}

boot_systemd() {
    local units=/lib/systemd/system target
    mount -t cgroup2 none /sys/fs/cgroup
    rm -f /lib/systemd/system-generators/*
    for target in sysinit basic multi-user local-fs sockets timers graphical; do
        rm -rf "$units/$target.target.wants" "/etc/systemd/system/$target.target.wants"
    done
    mkdir "$units/sockets.target.wants"
    ln -s ../systemd-journald.socket ../systemd-journald-dev-log.socket "$units/sockets.target.wants/"
    printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' >/etc/systemd/system/vm.target
    [ -s /etc/machine-id ] || systemd-machine-id-setup
    container=vm setsid unshare --pid --fork --mount --propagation shared --mount-proc /lib/systemd/systemd \
        --unit=vm.target >/run/systemd.log 2>&1 </dev/null &
    wait_for 30 'a process systemd' pgrep -x systemd
    manager=$(pgrep -x systemd | head -n 1)
    wait_for 90 'systemd runs' is_running
}

is_running() {
    [[ $(inside systemctl is-system-running 2>&1) =~ ^(running|degraded)$ ]]
}

status_is() { # PATTERN
    [[ $(property StatusText) =~ $1 ]]
}

logged() { # JOURNALCTL'S MATCHES… PATTERN
    inside journalctl --output=cat --no-pager "${@:1:$#-1}" 2>/dev/null | grep -q -- "${!#}"
}

state_is() { # ACTIVE SUB
    [ "$(property ActiveState) $(property SubState)" = "$1 $2" ]
}

# What a start in good order looks like from outside.
starts() {
    local since=$SECONDS
    inside systemctl start omnid || die "systemctl start"
    state_is active running || die "not active after systemctl start"
    say "started in $((SECONDS - since)) s"
    [ "$(stat -c %U:%G:%a /run/omnid)" = omnid:omnid:750 ] || die "/run/omnid: $(stat -c %U:%G:%a /run/omnid)"
    [ "$(stat -c %U:%G:%a /run/omnid/ask.sock)" = omnid:omnid:660 ] || die "ask.sock"
    wait_for 120 'segments in the status line' status_is '^segments [1-9][0-9]*, visible [1-9]'
    say "status: $(property StatusText)"
    logged _SYSTEMD_UNIT=omnid.service PRIORITY=6 '^ready: ' || die "the journal has no line of omnid's"
    wait_for 20 'the journal by camera and source' logged OMNID_CAMERA=default OMNID_SOURCE=video 'camera default: video running'
}

who_may_ask() {
    local status=0
    setpriv --reuid nobody --regid nogroup --groups omnid omnid-ask --timeout 120 --max-tokens 4 "What do you see?" >/run/answer ||
        die "a member of the group gets no answer"
    [ -s /run/answer ] || die "an empty answer"
    setpriv --reuid nobody --regid nogroup --clear-groups omnid-ask --timeout 60 "What do you see?" 2>/run/refused || status=$?
    [ $status = 4 ] || die "a stranger's omnid-ask ends with $status, want 4"
    grep -q "members of group 'omnid'" /run/refused || die "a stranger is told: $(cat /run/refused)"
}

reloads() {
    printf '[omnid]\nlog = debug\n[answers]\nmax_tokens = 9\n[timeline]\nwindow_s = 30\n%s' "$light" >"$conf"
    inside systemctl reload omnid || die "systemctl reload"
    wait_for 20 'a reload' logged _SYSTEMD_UNIT=omnid.service \
        'in force now: \[omnid\] log, \[answers\] max_tokens; waits for a restart: \[timeline\] window_s'
    printf '[answers]\nmax_tokns = 8\n%s' "$light" >"$conf"
    inside systemctl reload omnid || die "systemctl reload of a wrong configuration"
    wait_for 20 'a refused reload' logged _SYSTEMD_UNIT=omnid.service PRIORITY=3 'stays in force: .*max_tokns'
    state_is active running || die "not active after a refused reload"
    echo "$light" >"$conf"
}

new_process() { # OLD PID
    local pid
    pid=$(property MainPID)
    [ "$pid" != 0 ] && [ "$pid" != "$1" ] && state_is active running
}

comes_back() {
    local pid
    pid=$(property MainPID)
    inside kill -SEGV "$pid"
    wait_for 60 'a new process after a crash' new_process "$pid"
    [ "$(property NRestarts)" = 1 ] || die "want one restart, found $(property NRestarts)"
    pid=$(property MainPID)
    inside kill -STOP "$pid" # it hangs: the watchdog's business
    wait_for 120 'a new process after a hang' new_process "$pid"
    logged UNIT=omnid.service 'Watchdog timeout' || die "it was not the watchdog"
    [ "$(property NRestarts)" = 2 ] || die "want two restarts, found $(property NRestarts)"
}

ends() {
    local since=$SECONDS
    inside systemctl stop omnid || die "systemctl stop"
    state_is inactive dead || die "not inactive after systemctl stop"
    [ "$(property Result)" = success ] || die "the result is $(property Result)"
    [ ! -e /run/omnid/ask.sock ] || die "ask.sock is still there"
    say "stopped in $((SECONDS - since)) s"
}

# Exit status 3 is not tried again.
stays_down() {
    printf '[camera x]\nvideo = tset:\n' >"$conf"
    ! inside systemctl start omnid 2>/dev/null || die "started with a wrong configuration"
    [ "$(property ExecMainStatus)" = 3 ] || die "want exit status 3, found $(property ExecMainStatus)"
    sleep 4
    state_is failed failed || die "it is started again with a wrong configuration"
    echo "$light" >"$conf"
}

# The kernel's own camera and sound card, through the hardening: node by group video, card by group audio.
sees_and_hears() {
    inside systemctl reset-failed omnid 2>/dev/null || true
    chgrp video /dev/video0 && chmod 660 /dev/video0
    chgrp audio /dev/snd/* && chmod 660 /dev/snd/*
    printf '[camera eye]\nvideo = v4l2:/dev/video0,size=320x180\naudio = mic:,1)\n' >"$conf"
    inside systemctl start omnid || die "systemctl start with a camera"
    wait_for 120 'a picture of the camera' logged OMNID_CAMERA=eye OMNID_SOURCE=video 'eye: video running'
    wait_for 180 'sound of the card' logged OMNID_CAMERA=eye OMNID_SOURCE=audio 'eye: audio running'
    wait_for 60 'no source is lost' nothing_lost
    say "devices: $(property StatusText)"
    inside systemctl stop omnid || die "systemctl stop with a camera"
}

nothing_lost() {
    status_is '^segments [1-9]' && ! status_is lost
}

install_omnid
warm_cache
say "installed"
boot_systemd
say "systemd runs"
mkdir -p /etc/systemd/system/omnid.service.d
printf '[Service]\nWatchdogSec=10\nTimeoutStartSec=300\n' >/etc/systemd/system/omnid.service.d/vm.conf
inside systemctl daemon-reload
starts
who_may_ask
reloads
comes_back
ends
stays_down
sees_and_hears
say "passed"
