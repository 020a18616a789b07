#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/bundle.sh BUILD-FOLDER TARGET: kvbench as a folder that runs on another x86-64 Linux with the same or a newer
# glibc.
#
# Carries every shared library but glibc's own, found through old-style rpaths (DT_RPATH, which libraries loaded by
# libraries inherit; the newer DT_RUNPATH is not inherited). LuaJIT is inside the binary. The result is checked before
# it counts.
set -euo pipefail
build=$(cd "$1" && pwd)
target=$(realpath -m "$2")
root=$(cd "$(dirname "$0")/.." && pwd)
work=$target.tmp-$$
trap 'rm -rf "$work"' EXIT
command -v patchelf >/dev/null || { echo "kvbench: the bundle needs patchelf -> apt-get install patchelf" >&2; exit 1; }

mkdir -p "$work/lib" "$work/fonts" "$work/licenses" "$work/tests"
cp "$build/kvbench" "$work/kvbench"
cp -r "$root/lua" "$root/datasets" "$root/experiments" "$root/LICENSE" "$work/"
cp "$root"/tests/*.lua "$work/tests/"
rm "$work/tests/docs_test.lua" # the documents stay in the checkout
for part in lua ops golden e2e fault; do cp -r "$root/tests/$part" "$work/tests/"; done

if compgen -G "$build/cuda/test_*" >/dev/null; then
    mkdir "$work/cuda"
    cp "$build"/cuda/test_* "$work/cuda/"
    if [[ -d $build/fault/driver ]]; then mkdir -p "$work/fault" && cp -r "$build/fault/driver" "$work/fault/"; fi
    cp "$root/scripts/gpu-check" "$work/"
fi

# The licence of the package that a file came from. Debian's database knows files by /lib or by /usr/lib, never by both.
keep_license() {
    local package="" file name
    file=$(realpath "$1")
    for name in "$file" "${file#/usr}" "/usr$file"; do
        package=${package:-$(dpkg-query -S "$name" 2>/dev/null | head -n 1 | cut -d: -f1 || true)}
    done
    if [[ -z $package ]]; then echo "kvbench: no package owns $file; add its licence by hand" >&2; return; fi
    cp "/usr/share/doc/$package/copyright" "$work/licenses/$package"
}

glibc='^(linux-vdso|ld-linux.*|libc|libm|libdl|librt|libpthread|libresolv|libutil|libnsl)\.so'
ldd "$build/kvbench" | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' | while read -r name path; do
    [[ $name =~ $glibc ]] && continue
    cp -L "$path" "$work/lib/$name"
    keep_license "$path"
done
for font in DejaVuSans.ttf DejaVuSans-Bold.ttf; do cp "/usr/share/fonts/truetype/dejavu/$font" "$work/fonts/"; done
keep_license /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
keep_license "$(find /usr/lib -name 'libluajit-5.1.a' | head -n 1)"

strip --strip-debug "$work/kvbench"
chmod u+w "$work"/lib/*
for library in "$work"/lib/*; do patchelf --force-rpath --set-rpath '$ORIGIN' "$library"; done
patchelf --force-rpath --set-rpath '$ORIGIN/lib' "$work/kvbench"
for program in "$work"/cuda/test_*; do
    [[ -f $program ]] || continue
    strip --strip-debug "$program"
    patchelf --force-rpath --set-rpath '$ORIGIN/../lib' "$program"
done

# -- checks: nothing but glibc comes from outside; the old-style rpath is there; it runs without any environment
# ----------
outside=$(cd / && env -i LD_DEBUG=libs "$work/kvbench" --version 2>&1 >/dev/null |
    sed -nE 's/.*calling init: (.*)/\1/p' | grep -vF "$work/" | xargs -rn1 basename | sort -u |
    grep -vE "$glibc" || true)
if [[ -n $outside ]]; then
    echo "kvbench: the bundle would load these from the machine it runs on:" $outside >&2
    exit 1
fi
for file in "$work/kvbench" "$work"/lib/*; do
    if ! readelf -d "$file" | grep -q '(RPATH)'; then echo "kvbench: $file has no DT_RPATH" >&2; exit 1; fi
done
answer=$(cd / && env -i "$work/kvbench" -e 'print(require("kvbench.paths").home)')
if [[ $answer != "$work" ]]; then
    echo "kvbench: the bundled binary takes its Lua files from '$answer'" >&2
    exit 1
fi

needs=$(cat "$work/kvbench" "$work"/lib/* | strings -a | grep -oE '^GLIBC_2\.[0-9]+(\.[0-9]+)?$' | sort -Vu | tail -n 1)
rm -rf "$target"
mv "$work" "$target"
echo "$target: $(du -sh "$target" | cut -f1), needs ${needs/_/ } or newer"
