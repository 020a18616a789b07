#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/fuzz/fuzz_all.sh SECONDS FOLDER [TARGET...]: every target under libFuzzer for that long, as many at a time as
# there are CPUs (JOBS), from the corpora in git and with their dictionaries. libfuzzer.sh builds and calls it; a bundle of
# bundle.sh runs it elsewhere. A target that finds something goes on, so that one finding does not hide the next.
#
# FOLDER gets report.txt, and for each target its log, what was found (crash-TARGET-...), and corpus/TARGET.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
if (($# < 2)) || ! [[ $1 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: tests/fuzz/fuzz_all.sh SECONDS FOLDER [TARGET...], SECONDS a whole number from 1" >&2
    exit 2
fi
export seconds=$1 out
out=$(realpath -m "$2")
shift 2
programs=build-fuzz/fuzz
export programs KVBENCH_HOME=$PWD
[[ -d build-fuzz/lib ]] && export bundled=$PWD/build-fuzz/lib
mkdir -p "$out/corpus"
targets=("$@")
((${#targets[@]})) || for folder in tests/fuzz/corpus/*/; do targets+=("$(basename "$folder")"); done
for target in "${targets[@]}"; do
    if [[ ! -d tests/fuzz/corpus/$target ]]; then
        echo "fuzz: no target '$target' -> $(ls tests/fuzz/corpus | tr '\n' ' ')" >&2
        exit 2
    fi
done

# The program of a target: its own in C, or the one that reads in Lua.
program_of() { if [[ -x $programs/fuzz_$1 ]]; then echo "$programs/fuzz_$1"; else echo "$programs/fuzz_lua"; fi; }

# fuzz TARGET ARGUMENT...: one process of a target. LuaJIT's memory is not searched for pointers, so what only Lua holds
# would count as leaked there; lua_targets.lua looks at the byte counters instead.
fuzz() {
    local program leaks=$find_leaks
    program=$(program_of "$1")
    [[ $program == */fuzz_lua ]] && leaks=0
    KVB_FUZZ_TARGET=$1 OMP_NUM_THREADS=1 LD_LIBRARY_PATH=${bundled:-}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} \
        ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=$leaks UBSAN_OPTIONS=print_stacktrace=1 \
        LSAN_OPTIONS=suppressions=tests/lsan.supp "$program" "${@:2}"
}

number() { awk -v name="stat::$1:" '$1 == name {value = $2; sum += $2} END {print 0 + (name ~ /units/ ? sum : value)}' "$2"; }

one() { # one TARGET: until its time is over, from the start again after each finding
    local target=$1 end=$((SECONDS + seconds)) rounds=0 left status options log=$out/$1.log
    local dictionary=tests/fuzz/dictionary/$target.dict
    mkdir -p "$out/corpus/$target"
    : >"$log"
    while left=$((end - SECONDS)) && ((left > 0 && rounds < 20)); do
        options=(-max_total_time="$left" -timeout=10 -rss_limit_mb=4096 -max_len=65536 -print_final_stats=1
            -artifact_prefix="$out/crash-$target-")
        [[ -f $dictionary ]] && options+=(-dict="$dictionary")
        status=0
        fuzz "$target" "${options[@]}" "$out/corpus/$target" "tests/fuzz/corpus/$target" >>"$log" 2>&1 || status=$?
        rounds=$((rounds + 1))
        if ((status == 0)); then break; fi
        # nothing saved: it did not start, or was killed from outside
        compgen -G "$out/crash-$target-*" >/dev/null || break
    done
    local found
    found=$(find "$out" -maxdepth 1 -name "crash-$target-*" | wc -l)
    if ((status != 0 && found == 0)); then found="exit $status"; fi
    printf '%-17s %12s %9s %8s %8s %7s %5s  %s\n' "$target" "$(number number_of_executed_units "$log")" \
        "$(number average_exec_per_sec "$log")" "$(grep -aoE ' cov: [0-9]+' "$log" | awk 'END {print $2}')" \
        "$(grep -aoE ' ft: [0-9]+' "$log" | awk 'END {print $2}')" "$(find "$out/corpus/$target" -type f | wc -l)" \
        "$(number peak_rss_mb "$log")" "$found" >"$out/$target.line"
    if [[ $found != 0 ]]; then
        grep -aE "^==.*ERROR|^SUMMARY|runtime error|^ERROR:" "$log" | sed -E 's/^==[0-9]+==/    /' | sort | uniq -c | head -n 12 >>"$out/$target.line" || true
    fi
    echo "$target: ${found/#0/clean}"
}
export -f one fuzz number program_of

# Where a process may not look at itself, the leak finder cannot run.
export find_leaks=1
if ! fuzz json -runs=1 >"$out/probe.log" 2>&1 && grep -q LeakSanitizer "$out/probe.log"; then find_leaks=0; fi

jobs=${JOBS:-$(nproc)}
started=$SECONDS
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} bash -c 'one {}'
{
    echo "$seconds s a target, $jobs at a time, $((SECONDS - started)) s in all; $(uname -sr), $(nproc) CPUs;" \
        "leaks $( ((find_leaks)) && echo "looked for" || echo "not looked for: the finder cannot run here")"
    printf '%-17s %12s %9s %8s %8s %7s %5s  %s\n' target inputs a/second coverage features new MiB found
    for target in "${targets[@]}"; do cat "$out/$target.line"; rm "$out/$target.line"; done
} >"$out/report.txt"
cat "$out/report.txt"
failed=$(awk 'NR > 2 && $1 ~ /^[a-z_]+$/ && $NF != 0' "$out/report.txt" | wc -l)
echo "$((${#targets[@]} - failed)) passed, $failed failed"
((failed == 0))
