#!/usr/bin/env bash
# Makes the pre-trained trunk anew from its recipe, on the CPU, and compares it with the one in the
# program, byte by byte. Takes some minutes; the exit status is 0 if not one byte differs.
#
#   tests/conformance/pretrained.sh [OUT.safetensors]
#
# With OUT the new file is kept there. From the environment:
#   TRUNKLINE  the binary (else target/release/trunkline, built first)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
shipped=$root/src/model/zoo/pretrained/resnet26-w025-32.safetensors
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ -z "${TRUNKLINE:-}" ]; then
    cargo build --release --manifest-path "$root/Cargo.toml"
    TRUNKLINE="${CARGO_TARGET_DIR:-$root/target}/release/trunkline"
fi

# Left out of the mixture, so that there is something to adapt to: shapes, noisy-shapes, signs, counts.
"$TRUNKLINE" pretrain --trunk resnet26:width=0.25 --input 32 \
    --data synth:glyphs:count=600 --data synth:strokes:count=600 --data synth:textures:count=600 \
    --data synth:gratings:count=600 --data synth:hues:count=600 --data synth:symmetry:count=600 \
    --epochs 6 --batch 16 --optimizer adam --lr 0.003 --schedule cosine:warmup=0.05 \
    --weight-decay 0 --label-smoothing 0 --calibration-images 128 --seed 1 --device cpu \
    --out "$scratch/trunk.safetensors"

if [ -n "${1:-}" ]; then
    cp "$scratch/trunk.safetensors" "$1"
fi
sha256sum "$scratch/trunk.safetensors" "$shipped"
cmp "$scratch/trunk.safetensors" "$shipped"
