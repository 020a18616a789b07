#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/fuzz/bundle.sh FILE.tar.xz: the fuzz targets with the libraries they need, corpora and dictionaries, to run on
# another x86-64 Linux with the same or a newer glibc: unpack it and `fuzz/fuzz_all.sh 600 found`.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$(realpath -m "${1:?usage: tests/fuzz/bundle.sh FILE.tar.xz}")
tests/fuzz/libfuzzer.sh 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
place=$work/fuzz
mkdir -p "$place/build-fuzz/fuzz" "$place/build-fuzz/lib" "$place/tests/golden/tokenizer" "$place/tests/lua"
for program in build-fuzz/fuzz/fuzz_*; do strip -o "$place/$program" "$program"; done
ldd build-fuzz/fuzz/fuzz_* | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u | while read -r library; do
    [[ ${library##*/} =~ ^(libc|libm|libdl|librt|libpthread|libresolv|libutil|libnsl)\.so ]] && continue
    cp -L "$library" "$place/build-fuzz/lib/"
done
cp -r lua "$place/"
cp -r tests/fuzz "$place/tests/"
cp tests/lsan.supp "$place/tests/"
cp tests/lua/model_files.lua "$place/tests/lua/"
cp -r tests/golden/tokenizer/qwen2_small "$place/tests/golden/tokenizer/"
ln -s tests/fuzz/fuzz_all.sh "$place/fuzz_all.sh"
mkdir -p "$(dirname "$target")"
tar -C "$work" -c fuzz | xz -T0 -6 >"$target"
echo "$target: $(du -h "$target" | cut -f1)"
