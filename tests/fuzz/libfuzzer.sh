#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/fuzz/libfuzzer.sh [SECONDS] [TARGET...]: the C targets under libFuzzer with address and undefined-behaviour
# sanitizers, one after the other (600 s each unless told), from the corpora in git and with a dictionary where there is one.
# What is found on the way stays in build-fuzz/corpus; what crashes in build-fuzz/crash-*. Needs clang 15 or newer.
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
    -DKVB_SAN=address,undefined >/dev/null
targets=("$@")
((${#targets[@]})) || for file in tests/fuzz/fuzz_*.c; do file=${file##*/fuzz_}; targets+=("${file%.c}"); done
passed=0 failed=0
for target in "${targets[@]}"; do
    cmake --build build-fuzz --target "fuzz_$target" >/dev/null
    mkdir -p "build-fuzz/corpus/$target"
    dictionary=tests/fuzz/dictionary/$target.dict
    options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1
        -artifact_prefix="build-fuzz/crash-$target-")
    [[ -f $dictionary ]] && options+=(-dict="$dictionary")
    if ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1 LSAN_OPTIONS=suppressions=tests/lsan.supp \
        "build-fuzz/fuzz/fuzz_$target" "${options[@]}" "build-fuzz/corpus/$target" "tests/fuzz/corpus/$target" \
        >"build-fuzz/$target.log" 2>&1; then
        passed=$((passed + 1))
        printf '%-12s clean: %s inputs, coverage %s\n' "$target" \
            "$(sed -n 's/stat::number_of_executed_units: *//p' "build-fuzz/$target.log")" \
            "$(grep -o 'cov: [0-9]*' "build-fuzz/$target.log" | tail -n 1)"
    else
        failed=$((failed + 1))
        printf '%-12s FOUND SOMETHING, see build-fuzz/%s.log\n' "$target" "$target"
        grep -aE "ERROR|SUMMARY|runtime error" "build-fuzz/$target.log" | head -n 5
    fi
done
echo "$passed passed, $failed failed"
((failed == 0))
