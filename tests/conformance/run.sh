#!/usr/bin/env bash
# Compares Trunkline with the runtimes whose arithmetic it claims, live: installs them in a virtual
# environment, then runs every suite here (*_live.py). The exit status is 0 if not one code differs.
#
#   tests/conformance/run.sh [VENV_FOLDER]
#
# Without a folder the environment is made in a temporary one and removed at the end. From the environment:
#   TRUNKLINE         the binary (else target/release/trunkline, built first)
#   TRUNKLINE_SHARED  the folder with models/, for the real models (else ../shared beside the repository)
#   GRAPHS            random graphs per suite (300)
#   RESULTS           a file to which the table's rows are appended as JSON lines
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

venv=${1:-$scratch/venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"

if [ -z "${TRUNKLINE:-}" ]; then
    cargo build --release --manifest-path "$root/Cargo.toml"
    TRUNKLINE="${CARGO_TARGET_DIR:-$root/target}/release/trunkline"
fi
options=(--binary "$TRUNKLINE" --graphs "${GRAPHS:-300}" --results "$scratch/rows.jsonl")
models=${TRUNKLINE_SHARED:-$root/../shared}/models
if [ -d "$models" ]; then
    options+=(--models "$models")
else
    echo "SKIPPED: the real models ($models is absent)"
fi

# LiteRT and TFLite-Micro announce themselves on stderr; what matters is printed on stdout.
status=0
for script in "$here"/*_live.py; do
    echo "== $(basename "$script")"
    PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$script" "${options[@]}" 2> "$scratch/stderr" || {
        status=1
        grep -v '^INFO\|^W0000\|^I0000' "$scratch/stderr" | tail -n 5 >&2 || true
    }
done

echo "== all suites"
PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$here/trunkline_cli.py" "$scratch/rows.jsonl" || status=1
[ -z "${RESULTS:-}" ] || cat "$scratch/rows.jsonl" >> "$RESULTS"
exit $status
