#!/usr/bin/env bash
# Trains through our int8 trunk and, the same, in PyTorch through the f32 trunk, and prints the differences.
#
#   tests/conformance/train.sh WORK_FOLDER [train_compare.py options, as --only signs frozen]
#
# Everything made lies in WORK_FOLDER: venv/, data/, runs/, results/. What has a result is not trained again, so
# it may be stopped and started. From the environment: TRUNKLINE, the binary (else it is built);
# TRUNKLINE_SHARED, the folder with models/ and data/ (else ../shared beside the repository); PYTHON, one that
# has what requirements-train.txt names.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${1:?usage: train.sh WORK_FOLDER [train_compare.py options]}
shift
mkdir -p "$work"
shared=${TRUNKLINE_SHARED:-$root/../shared}
if [ ! -d "$shared" ]; then
    echo "SKIPPED: $shared is absent"
    exit
fi
python=${PYTHON:-$work/venv/bin/python}
if [ -z "${PYTHON:-}" ] && ! cmp -s "$here/requirements-train.txt" "$work/installed.txt"; then
    [ -x "$python" ] || python3 -m venv "$work/venv"
    "$python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements-train.txt"
    cp "$here/requirements-train.txt" "$work/installed.txt"
fi
if [ -z "${TRUNKLINE:-}" ]; then
    cargo build --release --manifest-path "$root/Cargo.toml"
    TRUNKLINE="${CARGO_TARGET_DIR:-$root/target}/release/trunkline"
fi
export PYTHONDONTWRITEBYTECODE=1
exec "$python" "$here/train_compare.py" run --work "$work" --binary "$TRUNKLINE" --shared "$shared" "$@"
