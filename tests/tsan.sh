#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/tsan.sh: the engine on the scalar reference under ThreadSanitizer. gcc's libgomp is not built for it and gives
# false races; clang's libomp tells it about its barriers through libarcher. Builds build-tsan. Closes with a line of counts.
set -uo pipefail
cd "$(dirname "$0")/.."

skip() { echo "skip tsan ($1)"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }

compiler=""
for name in clang-20 clang-19 clang-18 clang-17 clang-16 clang-15 clang; do # before 15 there is no _Float16
    if command -v $name >/dev/null && [[ $($name -dumpversion | cut -d. -f1) -ge 15 ]]; then compiler=$name; break; fi
done
[[ -n $compiler ]] || skip "no clang of version 15 or newer: apt-get install clang-16 libomp-16-dev"
llvm=$(dirname "$(dirname "$(readlink -f "$(command -v $compiler)")")")
archer=$llvm/lib/libarcher.so
[[ -f $archer ]] || skip "no $archer: apt-get install libomp-16-dev"

cmake -S . -B build-tsan -G Ninja -DCMAKE_C_COMPILER=$compiler -DKVB_CUDA=OFF -DKVB_TESTS=OFF -DKVB_SAN=thread >build-tsan.log 2>&1 &&
    cmake --build build-tsan --target kvbench >>build-tsan.log 2>&1 || { tail -n 40 build-tsan.log; echo "0 passed, 1 failed"; exit 1; }
rm -f build-tsan.log

# A race must be seen, else silence means nothing.
export TSAN_OPTIONS="ignore_noninstrumented_modules=1:exitcode=66:halt_on_error=0"
export OMP_TOOL_LIBRARIES=$archer OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
passed=0 failed=0
check() { # check NAME WANTED-STATUS COMMAND...
    local name=$1 wanted=$2 status=0
    shift 2
    timeout 600 "$@" >"$probe/out" 2>&1 || status=$?
    if ((status == wanted)); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL $name: exit status $status, expected $wanted"
        grep -aA14 "WARNING: ThreadSanitizer" "$probe/out" | head -n 60
        tail -n 15 "$probe/out"
    fi
}
cat >"$probe/race.c" <<'C'
int main(void) {
    int n = 0, m = 0;
#pragma omp parallel num_threads(4)
    for (int i = 0; i < 10000; i++) n++;
#pragma omp parallel for num_threads(4) reduction(+ : m)
    for (int i = 0; i < 10000; i++) m += i;
    return m == 0 && n == 0;
}
C
sed 's/n++/(void)i/' "$probe/race.c" >"$probe/clean.c"
for kind in race clean; do $compiler -g -O1 -fopenmp -fsanitize=thread "$probe/$kind.c" -o "$probe/$kind" -L"$llvm/lib" -Wl,-rpath,"$llvm/lib"; done
check "a race is found" 66 "$probe/race"
check "none where there is none" 0 "$probe/clean"
check "the engine on the reference" 0 build-tsan/kvbench --device ref --threads 0 tests/sanitize.lua
check "tensors" 0 build-tsan/kvbench --device ref tests/run.lua tests/lua/tensor_parts_test.lua
echo "$passed passed, $failed failed"
((failed == 0))
