#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what kvbench needs to build and test, on Debian 12, Ubuntu 24.04 and newer. Silent when nothing is missing.
# A tool counts as present when it runs, wherever it came from; a library when its package is installed.
#
#   scripts/install_packages.sh [FURTHER-PACKAGE...]
set -eu

libraries="libc6-dev libluajit-5.1-dev libdnnl-dev libcairo2-dev libzstd-dev libsqlite3-dev libpcre2-dev libutf8proc-dev
  libjansson-dev libedit-dev libcmocka-dev libstb-dev
  liblbfgs-dev fonts-dejavu-core"

missing=""
need() { # need PACKAGE COMMAND...: the package is missing unless the command succeeds
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

need gcc gcc --version
need cmake cmake --version
need ninja-build ninja --version
need pkg-config pkg-config --version
need git git --version
need python3 python3 --version
need python3-pip python3 -m pip --version
need valgrind valgrind --version
need patchelf patchelf --version
need curl curl --version # its library is what `dataset make --with URL` opens

if ! command -v dpkg-query >/dev/null 2>&1; then
    if [ -n "$missing" ] ||
        ! pkg-config --exists luajit libpcre2-8 libutf8proc jansson cairo libzstd sqlite3 libedit cmocka; then
        echo "kvbench: this is not Debian or Ubuntu; install by hand the equivalents of:$missing" $libraries >&2
        exit 1
    fi
    exit 0
fi
for package in $libraries "$@"; do need "$package" installed "$package"; done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root="sudo"
else
    echo "kvbench: packages are missing and this is neither root nor sudo -> ask for: apt-get install$missing" >&2
    exit 1
fi

echo "kvbench: installing$missing"
install() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Fresh containers have no package lists and old ones have stale lists; both show as a failed first attempt.
if ! install >"$log" 2>&1; then
    $as_root apt-get update -q >"$log" 2>&1 && install >>"$log" 2>&1 || {
        tail -n 15 "$log" >&2
        echo "kvbench: apt-get could not install:$missing -> see the lines above" >&2
        exit 1
    }
fi
