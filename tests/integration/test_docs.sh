#!/usr/bin/env bash
# test_docs.sh OMNID SOURCE: pages against the program: docs/configuration.md is what omnid prints, every sentence that
# docs/troubleshooting.md quotes is one that the code says, every example of config/examples passes omnid --check without its
# devices, and every link leads somewhere.
set -euo pipefail
omnid=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

complain() {
    echo "test_docs: $*" >&2
    bad=1
}

"$omnid" --print-config-docs >"$work/configuration.md"
diff -u "$source/docs/configuration.md" "$work/configuration.md" >&2 ||
    complain "docs/configuration.md is old: omnid --print-config-docs > docs/configuration.md"

# All string literals in one line, those that were broken over lines together again.
find "$source"/{daemon,capture,engine,clients,kernels,tools} \( -name '*.c' -o -name '*.h' \) -exec cat {} + |
    tr '\n' ' ' | sed 's/"[[:space:]]*"//g; s/\\"/"/g' >"$work/code"
n=0
while IFS= read -r sentence; do
    n=$((n + 1))
    while read -r part; do
        [[ $part =~ [a-z]{3} ]] || continue
        grep -qF -- "$part" "$work/code" || complain "docs/troubleshooting.md quotes \"$sentence\": no program says \"$part\""
    done <<<"${sentence//…/$'\n'}"
done < <(sed -n 's/^| \x60\([^\x60]*[a-z ]\{4\}[^\x60]*\)\x60 |.*/\1/p' "$source/docs/troubleshooting.md")
[ "$n" -gt 30 ] || complain "docs/troubleshooting.md: want more than 30 sentences, found $n"

for file in "$source"/config/examples/*.conf; do
    extra=()
    [ "$(basename "$file")" != file-loop.conf ] || extra=("--camera.recording.video=file:$source/models/demo/clips/01.mkv")
    "$omnid" --check --config "$file" "${extra[@]}" >"$work/check" 2>&1 || complain "$(basename "$file"): $(cat "$work/check")"
    grep -q '^camera ' "$work/check" || complain "$(basename "$file") has no camera"
done

for page in "$source"/README.md "$source"/docs/*.md; do
    while IFS= read -r link; do
        case $link in http*) continue ;; esac
        path=${link%%#*} anchor=
        [[ $link != *#* ]] || anchor=${link#*#}
        target=$(dirname "$page")/$path
        [ -n "$path" ] || target=$page
        [ -e "$target" ] || complain "$(basename "$page"): $link leads nowhere"
        [ -z "$anchor" ] || sed -n 's/^#* //p' "$target" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9\n-' | grep -qxF -- "$anchor" ||
            complain "$(basename "$page"): $link: no such heading"
    done < <(grep -oE '\]\([^)]+\)' "$page" | sed 's/^](//; s/)$//')
done
exit $bad
