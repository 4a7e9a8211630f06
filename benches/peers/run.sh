#!/usr/bin/env bash
# Measures Trunkline beside ONNX Runtime, LiteRT, OpenVINO, tract and rten, and prints the tables.
#
#   benches/peers/run.sh WORK_FOLDER prepare             # environment, binaries, models: once, minutes
#   benches/peers/run.sh WORK_FOLDER [bench.py options]  # prepares what is missing, measures, prints
#   benches/peers/run.sh WORK_FOLDER table               # prints the last results again
#
# Everything made lies in WORK_FOLDER: venv/, models/, rust-target/, results.jsonl (moved aside if there
# are older ones). From the environment: TRUNKLINE_SHARED, the folder with models/ (else ../shared beside
# the repository); RUST_PEERS=0 leaves tract and rten out. Measure on a machine with nothing else to do.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${1:?usage: run.sh WORK_FOLDER [prepare | table | bench.py options]}
mkdir -p "$work"
work=$(cd "$work" && pwd)
shift
export PYTHONDONTWRITEBYTECODE=1
python="$work/venv/bin/python"
results="$work/results.jsonl"

if [ "${1:-}" = table ]; then
    exec "$python" "$here/bench.py" table "$results"
fi

[ -x "$python" ] || python3 -m venv "$work/venv"
if ! cmp -s "$here/requirements.txt" "$work/installed.txt"; then
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$work/installed.txt"
fi
cargo build --release --manifest-path "$root/Cargo.toml" --example engine_peer
rust=()
if [ "${RUST_PEERS:-1}" = 1 ]; then
    CARGO_TARGET_DIR="$work/rust-target" nice cargo build --release --locked --manifest-path "$here/rust-peers/Cargo.toml"
    rust=(--rust-peers "$work/rust-target/release/rust-peers")
fi
models=${TRUNKLINE_SHARED:-$root/../shared}/models
[ -d "$models" ] || models=
"$python" "$here/prepare.py" "$work/models" ${models:+"$models"} 2>> "$work/prepare.log"

if [ "${1:-}" = prepare ]; then
    exit
fi
[ ! -e "$results" ] || mv "$results" "$work/results-$(date -r "$results" +%Y%m%d-%H%M%S).jsonl"
binaries="${CARGO_TARGET_DIR:-$root/target}/release/examples"
"$python" "$here/bench.py" measure --models "$work/models" --binaries "$binaries" "${rust[@]}" --results "$results" "$@"
"$python" "$here/bench.py" table "$results"
