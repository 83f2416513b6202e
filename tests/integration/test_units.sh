#!/usr/bin/env bash
# test_units.sh BUILD: what systemd-analyze says of the units: no complaint, and an exposure of the system's unit below 3 of 10.
# Exit status 77: systemd-analyze is not here.
set -euo pipefail
build=$1
command -v systemd-analyze >/dev/null || {
    echo "test_units: systemd-analyze is not installed" >&2
    exit 77
}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

fail() {
    echo "test_units: $*" >&2
    exit 1
}

# The program has to be there: its path in the unit becomes that of the build's omnid.
mkdir -p "$root/system" "$root/user"
sed "s|^ExecStart=[^ ]*|ExecStart=$build/omnid|" "$build/systemd/omnid.service" >"$root/system/omnid.service"
sed "s|^ExecStart=[^ ]*|ExecStart=$build/omnid|" "$build/systemd/user/omnid.service" >"$root/user/omnid.service"
export XDG_RUNTIME_DIR=$root # else --user does not begin
systemd-analyze --man=no verify "$root/system/omnid.service" >"$root/said" 2>&1 || true
systemd-analyze --man=no --user verify "$root/user/omnid.service" >>"$root/said" 2>&1 || true
# What it says of other units, and of a machine without a user manager, is not ours.
if grep 'omnid\.service' "$root/said"; then
    fail "systemd-analyze verify complains"
fi
# It complains where there is something to complain of.
sed 's/^WatchdogSec=.*/WatchdogSec=often/' "$root/system/omnid.service" >"$root/system/omnid-broken.service"
systemd-analyze --man=no verify "$root/system/omnid-broken.service" 2>&1 | grep -q 'omnid-broken\.service:.*often' ||
    fail "systemd-analyze verify sees nothing wrong in a broken unit"
sed 's/^LockPersonality/LockPersonalities/' "$root/user/omnid.service" >"$root/user/omnid-broken.service"
systemd-analyze --man=no --user verify "$root/user/omnid-broken.service" 2>&1 | grep -q 'LockPersonalities' ||
    fail "systemd-analyze --user verify sees nothing wrong in a broken unit"

systemd-analyze security --offline=yes --no-pager "$root/system/omnid.service" >"$root/security" 2>&1 ||
    fail "systemd-analyze security: $(cat "$root/security")"
exposure=$(sed -n 's/^.*Overall exposure level for omnid.service: \([0-9.]*\).*/\1/p' "$root/security")
echo "exposure level: $exposure"
[[ $exposure =~ ^[012]\. ]] || fail "want an exposure level below 3, found '$exposure'"
# omnid's kernels are compiled while it runs, and ALSA reads /proc/asound.
! grep -qE '^(MemoryDenyWriteExecute|ProcSubset)=' "$root/system/omnid.service" || fail "a setting that omnid cannot live with"
