#!/usr/bin/env bash
# test_install.sh BUILD SOURCE: installs the build into an empty folder (DESTDIR) and looks at what is there: the files, that
# none names the build's or the source's folder, and that the installed programs work with what was installed beside them.
set -euo pipefail
build=$1 source=$2
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

fail() {
    echo "test_install: $*" >&2
    exit 1
}

value() { # of a variable of the build
    sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt"
}

DESTDIR=$root cmake --install "$build" --strip >"$root/log" 2>&1 || {
    cat "$root/log" >&2
    fail "cmake --install failed"
}
prefix=$(value CMAKE_INSTALL_PREFIX)
etc=$prefix/etc
[ "$prefix" != /usr ] || etc=/etc
here=$root$prefix

for file in bin/omnid bin/omnid-ask bin/omnid-run bin/omnid-devices bin/omnid-model libexec/omnid/omnid-mic \
    lib/systemd/system/omnid.service lib/systemd/user/omnid.service \
    lib/sysusers.d/omnid.conf lib/tmpfiles.d/omnid.conf share/omnid/models/demo/config.json \
    share/omnid/models/demo/tokenizer.json share/omnid/models/demo/model.safetensors share/omnid/models/demo/LICENSE \
    share/doc/omnid/quickstart.md share/doc/omnid/configuration.md share/doc/omnid/deployment.md \
    share/doc/omnid/troubleshooting.md share/doc/omnid/models.md share/doc/omnid/protocol.md share/doc/omnid/python/omnid.py \
    share/doc/omnid/examples/test-pattern.conf share/doc/omnid/examples/jetson.service.conf include/omnid/engine/omnid.h; do
    [ -s "$here/$file" ] || fail "$file was not installed"
done
[ ! -e "$here/share/omnid/models/demo/clips" ] || fail "the demo model's clips were installed"
for link in "$here"/lib/libomnid.so* "$here"/lib/*/libomnid.so*; do
    [ ! -e "$link" ] || library=$link
done
[ -n "${library:-}" ] || fail "libomnid.so was not installed"
cmp -s "$root$etc/omnid/omnid.conf" "$source/config/omnid.conf" || fail "$etc/omnid/omnid.conf is not the default one"
find "$root" -type f -perm /022 | grep . && fail "these can be written by others"

# A program built by a sanitizer names its sources.
if [ -z "$(value OMNID_SANITIZE)" ]; then
    rm "$root/log"
    ! grep -rlF -e "$build" -e "$source" "$root" || fail "these name the folder of the build or of the source"
fi
grep -q "^ExecStart=$prefix/bin/omnid --config $etc/omnid/omnid.conf$" "$here/lib/systemd/system/omnid.service" ||
    fail "the unit starts another program"
! grep -rn '@[A-Z_]*@' "$here/lib/systemd" || fail "a unit has a name that was not replaced"

"$here/bin/omnid" --version | grep -q '^omnid [0-9]' || fail "omnid --version"
"$here/bin/omnid-ask" --version >/dev/null || fail "omnid-ask --version"
OMNID_MODELS='' XDG_DATA_HOME=$root/none HOME=$root/none "$here/bin/omnid" --check --config "$root$etc/omnid/omnid.conf" >"$root/check"
grep -q "^model: $here/share/omnid/models/demo (the demo model)$" "$root/check" || {
    cat "$root/check" >&2
    fail "the installed omnid does not find the installed demo model"
}

# A second time: the configuration is a person's by now.
echo '# mine' >>"$root$etc/omnid/omnid.conf"
DESTDIR=$root cmake --install "$build" --strip >/dev/null 2>&1
grep -q '^# mine$' "$root$etc/omnid/omnid.conf" || fail "the second installation overwrote the configuration"
echo "installed: $(find "$root" -type f | wc -l) files"
