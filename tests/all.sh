#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/all.sh BUILD-FOLDER [PART...]: runs every part of the tests and closes with one line `N passed, N failed, N
# skipped`.
#
# A part is a program that prints such a line last. One that prints none, or fails without counting a failure, counts as
# a failure: a crash cannot pass. What failed is shown in full, the rest as one line each. Parts: unit valgrind lua fault
# ops cuda golden fuzz tsan docs e2e. KVB_GOLDEN = a folder with more goldens; FUZZ_SECONDS = seconds per fuzz target (5).
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:?usage: tests/all.sh BUILD-FOLDER [PART...]}
shift
wanted=" ${*:-unit valgrind lua fault ops cuda golden fuzz tsan docs e2e} "
kvbench=$PWD/$build/kvbench
export KVBENCH=$kvbench
cache=${KVBENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kvbench}
sanitized=0
grep -qs '^KVB_SAN:STRING=.' "$build/CMakeCache.txt" && sanitized=1
export KVB_SANITIZED=$sanitized
# LuaJIT's own allocator hides pointers from the leak finder, so leaks are looked for in the C units only.
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
# An allocation that is too large fails as malloc does, since tests ask for such.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:allocator_may_return_null=1

log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0 started=$SECONDS
failures=()

asked() { [[ $wanted == *" $1 "* ]]; }

# part NAME COMMAND...: runs, judges and adds up one part.
part() {
    local name=$1 from=$SECONDS status=0 line p=0 f=0 s=0 note=""
    shift
    timeout --kill-after=10 "${KVB_PART_SECONDS:-900}" "$@" >"$log" 2>&1 </dev/null || status=$?
    line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$log" | tail -n 1)
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
        p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]} s=${BASH_REMATCH[4]:-0}
    else
        f=1 note=" (no closing line, exit status $status)"
    fi
    if ((status != 0 && f == 0 && (p > 0 || s == 0))); then f=1 note=" (exit status $status)"; fi
    if ((p + f + s == 0)); then f=1 note=" (nothing ran)"; fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    printf '%-44s %5d passed, %d failed, %d skipped  %3d s%s\n' "$name" "$p" "$f" "$s" $((SECONDS - from)) "$note"
    if ((f)); then
        failures+=("$name")
        tail -n 200 "$log" | sed 's/^/    /'
    else
        grep -aE '^skip(ped)? ' "$log" |
            awk 'NR <= 2 {print "    " substr($0, 1, 110)} END {if (NR > 2) print "    ... and " NR - 2 " more"}'
    fi
}

skip() { # skip NAME REASON
    skipped=$((skipped + 1))
    printf '%-44s skipped: %s\n' "$1" "$2"
}

# cmocka's summary as a closing line; a crash keeps its exit status.
unit() {
    local status=0 out
    out=$(mktemp)
    CMOCKA_MESSAGE_OUTPUT=STDOUT "$@" >"$out" 2>&1 || status=$?
    cat "$out"
    number() { sed -nE "s/^\[ +$1 +\] ([^:]*: )?([0-9]+) test.*/\2/p" "$out" | tail -n 1; }
    local p f s
    p=$(number PASSED) f=$(number FAILED) s=$(number SKIPPED)
    rm -f "$out"
    if [[ -n $p ]]; then echo "$p passed, ${f:-0} failed, ${s:-0} skipped"; fi
    return $status
}
under_valgrind() {
    if valgrind -q --error-exitcode=99 --leak-check=full --num-callers=40 \
        --errors-for-leak-kinds=definite --show-leak-kinds=definite \
        --suppressions=tests/valgrind.supp "$@"; then
        echo "1 passed, 0 failed"
    else
        echo "0 passed, 1 failed"
        return 1
    fi
}
# Why a unit does not run under valgrind (the sanitizer run covers it); others may say `no valgrind: reason` themselves.
no_valgrind() {
    case $1 in
    cpu_kernels | engine) echo "the code that oneDNN generates exhausts valgrind's translator" ;;
    *) sed -nE 's|.*no valgrind: (.*[^ */]) *(\*/)?$|\1|p' "tests/unit/test_$1.c" | head -n 1 ;;
    esac
}

# One target is one test: the number of inputs depends on the machine and would drown the counts that mean something.
fuzz() {
    local out
    out=$("$@" 2>&1) || { echo "$out"; echo "0 passed, 1 failed"; return 1; }
    echo "$(tail -n 1 <<<"$out") inputs"
    if [[ $out =~ (^|$'\n')[1-9][0-9]*\ passed,\ 0\ failed ]]; then
        echo "1 passed, 0 failed"
    else
        echo "0 passed, 1 failed"
    fi
}
export -f unit under_valgrind fuzz

if asked unit; then
    for exe in "$build"/unit/test_*; do
        [[ -x $exe ]] || continue
        ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0 \
            part "unit ${exe##*/test_}" bash -c 'unit "$@"' - "$exe"
    done
fi

if asked valgrind; then
    for exe in "$build"/unit/test_*; do
        [[ -x $exe ]] || continue
        name="valgrind ${exe##*/test_}"
        if ((sanitized)); then continue; fi
        if ! command -v valgrind >/dev/null; then skip "$name" "valgrind is not installed"; continue; fi
        slow=$(no_valgrind "${exe##*/test_}")
        if [[ -n $slow ]]; then skip "$name" "$slow"; continue; fi
        # valgrind runs one thread at a time: waiting must not spin.
        OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0 part "$name" bash -c 'under_valgrind "$@"' - "$exe"
    done
fi

if asked lua; then
    for file in tests/lua/*_test.lua; do part "$file" "$kvbench" tests/run.lua "$file"; done
fi

if asked fault; then
    if ((sanitized)); then export KVB_FAULT_STEP=${KVB_FAULT_STEP:-7}; fi # five times slower there
    for file in tests/fault/*_test.lua; do part "$file" "$kvbench" tests/run.lua "$file"; done
fi

if asked cuda; then # kernels; each skips where there is no GPU
    for exe in "$build"/cuda/test_*; do
        if [[ -x $exe ]]; then part "cuda ${exe##*/test_}" "$exe"; fi
    done
fi

if asked ops; then part "tests/ops" "$kvbench" tests/ops/run.lua; fi

have_model=0
[[ -f $cache/SmolLM2-135M-Instruct.Q4_1.gguf ]] && have_model=1
have_gemma=0
[[ -f $cache/gemma-3-270m-q4_k_m.gguf ]] && have_gemma=1

goldens() { # goldens FOLDER LABEL: every model, tokenizer file and answer set in a folder of goldens
    local root=$1 label=$2 dir file name model
    for dir in "$root"/*/; do
        dir=${dir%/}
        name=$label/${dir##*/}
        if compgen -G "$dir/forward.safetensors" >/dev/null || compgen -G "$dir/*/forward.safetensors" >/dev/null ||
            compgen -G "$dir/*/press-*.safetensors" >/dev/null; then
            part "$name" "$kvbench" tests/golden.lua "$dir"
        fi
        if [[ -f $dir/answers.json ]]; then
            if ((have_model)); then part "$name" "$kvbench" tests/golden_answers.lua smollm2 "$dir"
            else skip "$name" "the default model is not in the cache (make setup)"; fi
        fi
    done
    for file in "$root"/tokenizer/*.jsonl; do
        [[ -f $file ]] || continue
        name=${file##*/}
        name=${name%.jsonl}
        model=""
        for dir in "$root/tokenizer/$name" "${KVB_TOKENIZERS:-$root/../tokenizers}/$name"; do
            [[ -f $dir/tokenizer.json || -f $dir/tokenizer.json.zst ]] && model=$dir
        done
        if [[ $name == smollm2 ]] && ((have_model)); then model=smollm2; fi
        if [[ $name == gemma3 ]]; then
            if ((have_gemma)); then model=gemma3-270m
            else skip "$label/tokenizer/$name" "not in the cache (scripts/fetch_model.sh gemma3-270m)"; continue; fi
        fi
        if [[ -z $model ]]; then skip "$label/tokenizer/$name" "no tokenizer.json for it here"; continue; fi
        part "$label/tokenizer/$name" "$kvbench" tests/golden_tokenizer.lua "$model" "$file"
    done
}
if asked golden; then
    goldens tests/golden tests/golden
    if [[ -n ${KVB_GOLDEN:-} && -d ${KVB_GOLDEN:-} ]]; then goldens "$KVB_GOLDEN" golden; fi
fi

if asked fuzz; then
    for exe in "$build"/fuzz/fuzz_*; do
        [[ -x $exe ]] || continue
        name=${exe##*/fuzz_}
        part "fuzz $name" bash -c 'fuzz "$@"' - "$exe" --mutations 1000000 --seconds "${FUZZ_SECONDS:-5}" \
            "tests/fuzz/corpus/$name"
    done
fi

if asked fuzz; then # what is read in Lua
    for folder in config jsonl tokenizer_config template press_spec; do
        part "fuzz $folder" bash -c 'fuzz "$@"' - "$kvbench" --device cpu tests/fuzz/lua_fuzz.lua $folder \
            --seconds "${FUZZ_SECONDS:-5}" tests/fuzz/corpus/$folder/*
    done
fi

if asked tsan && ((!sanitized)); then part "tsan" tests/tsan.sh; fi

if asked docs; then part "tests/docs_test.lua" "$kvbench" tests/run.lua tests/docs_test.lua; fi

if asked e2e; then
    for file in tests/e2e/*_test.lua; do part "$file" "$kvbench" tests/run.lua "$file"; done
fi

echo
echo "$((SECONDS - started)) s in $build"
if ((${#failures[@]})); then printf 'failed: %s\n' "${failures[@]}"; fi
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
