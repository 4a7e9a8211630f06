#!/usr/bin/env bash
# Times a training step of ours beside PyTorch's, interleaved, and prints the table.
#
#   benches/peers/train.sh WORK_FOLDER [train.py options]   # prepares what is missing, measures, prints
#   benches/peers/train.sh WORK_FOLDER table                # prints the last results again
#
# Everything made lies in WORK_FOLDER: train-venv/, train.jsonl (moved aside if there is an older one). PYTHON
# names an interpreter that has torch already. Measure on a machine with nothing else to do.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${1:?usage: train.sh WORK_FOLDER [table | train.py options]}
shift
mkdir -p "$work"
export PYTHONDONTWRITEBYTECODE=1
python=${PYTHON:-$work/train-venv/bin/python}
results="$work/train.jsonl"

if [ "${1:-}" = table ]; then
    exec "$python" "$here/train.py" table --results "$results"
fi

if [ -z "${PYTHON:-}" ] && ! cmp -s "$here/requirements-train.txt" "$work/train-installed.txt"; then
    [ -x "$python" ] || python3 -m venv "$work/train-venv"
    "$python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements-train.txt"
    cp "$here/requirements-train.txt" "$work/train-installed.txt"
fi
cargo build --release --manifest-path "$root/Cargo.toml" --example train_peer
[ ! -e "$results" ] || mv "$results" "$work/train-$(date -r "$results" +%Y%m%d-%H%M%S).jsonl"
binary="${CARGO_TARGET_DIR:-$root/target}/release/examples/train_peer"
exec "$python" "$here/train.py" measure --binary "$binary" --results "$results" "$@"
