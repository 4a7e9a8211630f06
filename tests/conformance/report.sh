#!/usr/bin/env bash
# Makes small sweeps and their pages, and tries the pages in headless Chromium: tests/e2e/report.mjs. The exit
# status is 0 if everything holds.
#
#   tests/conformance/report.sh [FOLDER_OF_SCREENSHOTS]
#
# From the environment:
#   TRUNKLINE  the binary (else target/release/trunkline, built first)
#   SWEEP      the folder of a finished sweep to try instead
#   CHROMIUM   the browser (else /usr/bin/chromium)
#   NODE_PATH  where playwright-core is (else it is installed into a scratch folder by npm)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
shots=${1:-$scratch/shots}

if [ -z "${TRUNKLINE:-}" ]; then
    cargo build --release --manifest-path "$root/Cargo.toml"
    TRUNKLINE="${CARGO_TARGET_DIR:-$root/target}/release/trunkline"
fi
if [ -z "${NODE_PATH:-}" ]; then
    npm install --silent --prefix "$scratch/npm" playwright-core
    export NODE_PATH=$scratch/npm/node_modules
fi

try() {
    "$TRUNKLINE" report "$2" --html "$scratch/$1.html" --svg "$scratch/$1-svg" --out "$scratch/$1.md"
    echo "$1: $(wc -c < "$scratch/$1.html") B of HTML, $(ls "$scratch/$1-svg" | wc -l) figures"
    node "$root/tests/e2e/report.mjs" "$scratch/$1.html" "$2/points.jsonl" "$shots/$1"
}

if [ -n "${SWEEP:-}" ]; then
    try sweep "$SWEEP"
    exit
fi
"$TRUNKLINE" sweep --quiet "$root/examples/analytic_placements.toml" --out "$scratch/sweep-analytic"
try analytic "$scratch/sweep-analytic"
cat > "$scratch/trained.toml" <<'TOML'
mode = "trained"
[grid]
trunks = ["resnet8:width=0.25,input=16"]
schemes = ["head-only", "final-conv", "fine-tune", "parallel:init=zero", "spatial-attention:gate=2sigmoid,init=zero"]
systems = ["asic-h200-pcie"]
data = ["synth:signs:count=60", "synth:hues:count=60"]
seeds = [1, 2]
[train]
epochs = 2
batch = 10
optimizer = "adam"
lr = 0.01
val-images = 40
TOML
"$TRUNKLINE" sweep --quiet "$scratch/trained.toml" --out "$scratch/sweep-trained"
try trained "$scratch/sweep-trained"
