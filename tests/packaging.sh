#!/usr/bin/env bash
# What users do first: install the wheel, or the checkout in editable form, into a fresh environment.
# twistd and twist must list us then, and the console script must find its data.
# PYTHON has to have the module "build".
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" # away from the checkout, which Python would find without any installing

fresh() { # NAME WHAT...: an environment with WHAT installed
    local name=$1
    shift
    printf -- '--- %s\n' "$name"
    "$python" -m venv "$name"
    "$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    "$name/bin/python" -m pip check --disable-pip-version-check
}

works() { # NAME: is everything there?
    "$1/bin/twistd" --help | grep '^    ethp2p '
    "$1/bin/twist" --help | grep '^    ethp2p '
    "$1/bin/twistd" -n --pidfile= ethp2p --version
    "$1/bin/ethp2p" networks | grep '^mainnet '
    "$1/bin/python" -c 'from ethp2p import node, sandbox, web'
}

echo "--- sdist and wheel"
"$python" -m build --outdir dist "$root" >build.log 2>&1 || { cat build.log; exit 1; }
if "$python" -m zipfile -l dist/*.whl | awk 'NR > 1 { print $1 }' |
    grep -vE '^(ethp2p/|ethp2p-[0-9.]+\.dist-info/|twisted/plugins/ethp2p_plugin\.py$)'; then
    echo "the wheel holds what it should not"
    exit 1
fi

fresh wheel dist/*.whl
works wheel
fresh editable -e "$root"
works editable
echo "--- packaging is well"
