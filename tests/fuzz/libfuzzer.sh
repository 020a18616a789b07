#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/fuzz/libfuzzer.sh [SECONDS] [TARGET...]: builds the targets with libFuzzer and the address and undefined-behaviour
# sanitizers in build-fuzz, and runs them (fuzz_all.sh), 600 s each unless told. What was found and the report stay in
# build-fuzz/found. Needs clang 15 or newer. SECONDS = 0: builds only.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-600}
shift || true
compiler=""
for name in clang-20 clang-19 clang-18 clang-17 clang-16 clang-15 clang; do
    if command -v $name >/dev/null && [[ $($name -dumpversion | cut -d. -f1) -ge 15 ]]; then compiler=$name; break; fi
done
[[ -n $compiler ]] || { echo "no clang of version 15 or newer -> apt-get install clang-16"; exit 1; }
cmake -S . -B build-fuzz -G Ninja -DCMAKE_C_COMPILER=$compiler -DKVB_CUDA=OFF -DKVB_FUZZER=ON \
    -DKVB_SAN=address,undefined >build-fuzz.log 2>&1 &&
    cmake --build build-fuzz --target fuzzers >>build-fuzz.log 2>&1 || { tail -n 40 build-fuzz.log; exit 1; }
rm -f build-fuzz.log
[[ $seconds == 0 ]] || exec tests/fuzz/fuzz_all.sh "$seconds" build-fuzz/found "$@"
