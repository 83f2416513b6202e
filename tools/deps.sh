#!/usr/bin/env bash
# deps.sh: installs the Debian or Ubuntu packages that omnid needs, those that are missing only, and says so.
#
#   tools/deps.sh [build|demo|test]    build: compile omnid; demo: and play clips (the default); test: and run every check
#   tools/deps.sh --list [SET]         only print the names, one a line
#
# Uses sudo when not root. Exit status: 0 all is there, 69 cannot install here (the list is printed), else apt's.
# OMNID_SKIP_DEPS=1: trust that everything is there (a system without apt).
set -euo pipefail

build_set=(cmake ninja-build gcc libc6-dev pkg-config git ca-certificates
    libdnnl-dev libjansson-dev libpcre2-dev libutf8proc-dev libkissfft-dev
    libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libglib2.0-dev libzmq3-dev libcmocka-dev
    libv4l-dev portaudio19-dev libsamplerate0-dev libturbojpeg0-dev libjpeg-dev libcurl4-openssl-dev libsystemd-dev)
demo_set=(gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav jq)
test_set=(g++ clang clang-format shellcheck ccache python3 python3-zmq gstreamer1.0-tools
    libgstrtspserver-1.0-dev libasound2-dev v4l-utils alsa-utils systemd
    pulseaudio pulseaudio-utils libasound2-plugins)

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0"
}

# The packages of a set, one a line.
packages() {
    case $1 in
    build) printf '%s\n' "${build_set[@]}" ;;
    demo) printf '%s\n' "${build_set[@]}" "${demo_set[@]}" ;;
    test) printf '%s\n' "${build_set[@]}" "${demo_set[@]}" "${test_set[@]}" ;;
    *)
        echo "deps.sh: want build, demo or test, found '$1'" >&2
        exit 2
        ;;
    esac
}

# Those of the names given that are not installed.
missing() {
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done
}

# Prints why nothing can be installed here, the list, and leaves.
cannot() {
    echo "deps.sh: $1; omnid needs these Debian packages (or what your system calls them):"
    shift
    printf '    %s\n' "$@"
    echo "Install them and set OMNID_SKIP_DEPS=1 to go on without this check."
    exit 69
}

install() {
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || cannot "not root, and there is no sudo" "$@"
        as_root=(sudo)
    fi
    echo "deps.sh: installing what is missing to build and run omnid (apt-get install, as root):"
    echo "    $*"
    "${as_root[@]}" apt-get update -q || echo "deps.sh: apt-get update failed; going on with the lists that are here" >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

main() {
    local list=0 set=demo names absent
    for word in "$@"; do
        case $word in
        --list) list=1 ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) set=$word ;;
        esac
    done
    mapfile -t names < <(packages "$set")
    [ ${#names[@]} -gt 0 ] || exit 2
    if [ "$list" = 1 ]; then
        printf '%s\n' "${names[@]}"
        exit 0
    fi
    [ "${OMNID_SKIP_DEPS:-0}" = 1 ] && exit 0
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        cannot "there is no apt here" "${names[@]}"
    fi
    mapfile -t absent < <(missing "${names[@]}")
    [ ${#absent[@]} -eq 0 ] || install "${absent[@]}"
}

main "$@"
