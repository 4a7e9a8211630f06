#!/usr/bin/env python3
"""Reads the TensorBoard event file of a run with TensorBoard's own reader and compares every scalar with the
run's metrics.jsonl.

    pip install tensorboard==2.21.0
    tests/conformance/tensorboard_events.py RUN

The exit status is 0 if both say the same. Not run by CI.
"""
import json
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator


def expected(run):
    """Tag to list of (step, value), as metrics.jsonl has them."""
    scalars = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        step = row.pop("step")
        for node, count in row.pop("quant/saturations_by_node", {}).items():
            row[f"quant/saturations/{node}"] = count
        for tag, value in row.items():
            # Events hold f32.
            scalars.setdefault(tag, []).append((step, struct.unpack("f", struct.pack("f", value))[0]))
    return scalars


def main():
    run = Path(sys.argv[1])
    events = EventAccumulator(str(run), size_guidance={SCALARS: 0})
    events.Reload()
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    wanted = expected(run)
    wrong = [tag for tag in sorted(found.keys() | wanted.keys()) if found.get(tag) != wanted.get(tag)]
    for tag in wrong:
        print(f"{tag}: TensorBoard reads {found.get(tag)}, metrics.jsonl has {wanted.get(tag)}")
    scalars = sum(map(len, wanted.values()))
    print(f"{len(wanted)} tags, {scalars} scalars: {len(wrong)} tags differ")
    return 1 if wrong or not scalars else 0


sys.exit(main())
