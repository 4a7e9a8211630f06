#!/usr/bin/env python3
"""Compares Trunkline with ONNX Runtime, code by code, on random graphs and on real models.

Float networks are quantised by `quantize_static`, as QDQ and as QOperator, with unsigned and signed
activations, per tensor and per channel; `onnx_quant.py` says which codes are a QDQ model's. The first
difference is named with what reproduces it; its model and golden file are kept.

  onnx_live.py --binary target/release/trunkline --graphs 100
  onnx_live.py --binary target/release/trunkline --seed 17          # one graph, for a closer look
"""
import itertools
import logging

import onnx
import onnxruntime

import onnx_quant
import random_onnx
from trunkline_cli import Row, run_suites

PROFILE = "onnxruntime"
KINDS = list(itertools.product(onnx_quant.FORMATS, onnx_quant.ACTIVATIONS, (False, True)))


class Comparison:
    def __init__(self, binary, folder, suite, verbose):
        self.binary, self.folder, self.verbose = binary, folder, verbose
        self.rows = {(form, act): Row(f"ONNX Runtime {form} {act}", PROFILE, suite) for form, act, _ in KINDS}
        if not binary.has_profile(PROFILE):
            for row in self.rows.values():
                row.skipped = "the binary has no such profile"

    def graph(self, name, source, samples, images, kind, reproduce):
        form, act, per_channel = kind
        row = self.rows[form, act]
        if row.skipped:
            return
        name = f"{name}.{form}.{act}.{'per-channel' if per_channel else 'per-tensor'}"
        stem = self.folder / name
        path, golden = stem.with_name(name + ".onnx"), stem.with_name(name + ".golden.npz")
        try:
            onnx_quant.quantise(source, path, samples, form, act, per_channel)
            onnx_quant.golden(path, stem, samples[:images])
        except Exception as why:  # whatever ONNX Runtime throws at a graph it cannot do
            row.refused_by_peer += 1
            self.say(f"REFUSED by ONNX Runtime: {name}: {type(why).__name__} {str(why)[:200]}", self.verbose)
            return
        try:
            verdict = self.binary.verify(path, golden, PROFILE)
        except RuntimeError as why:
            row.failed += 1
            self.say(f"ERROR {name}: {why}; {reproduce}", self.verbose or row.failed <= 3)
            return
        row.take(verdict)
        first = verdict["first"]
        if first is None:
            for file in (path, golden, stem.with_name(name + ".golden_layers.npz")):
                file.unlink(missing_ok=True)
            return
        operator = first["layer"].split("_")[0]
        row.first_by_operator[operator] += 1
        self.say(f"DIFFERS {row.peer}: {name}, layer '{first['layer']}' ({first['array']}), input {first['input']}, index "
                 f"{first['index']}: ours {first['computed']}, theirs {first['recorded']}; {verdict['differing']} of "
                 f"{verdict['codes']} codes; {reproduce}; kept {golden}",
                 self.verbose or row.first_by_operator[operator] <= 3)

    @staticmethod
    def say(text, wanted):
        if wanted:
            print(text, flush=True)


def random_suite(binary, folder, seeds, images, verbose):
    comparison = Comparison(binary, folder, "random ONNX graphs", verbose)
    for seed in seeds:
        net = random_onnx.network(seed)
        source = folder / f"seed{seed}.onnx"
        onnx.save(net.model(), source)
        samples = net.images(max(images, 4))
        # Two kinds of each graph: there are more graphs to see than kinds of one.
        for kind in (KINDS[seed % len(KINDS)], KINDS[(seed + 3) % len(KINDS)]):
            comparison.graph(f"seed{seed}", source, samples, images, kind, f"--seed {seed}")
        source.unlink()
    return list(comparison.rows.values())


def real_suite(binary, folder, models, images, verbose):
    shared = models.parent
    comparison = Comparison(binary, folder, "real ONNX models", verbose)
    for network, (file, kind_of_image) in onnx_quant.NETWORKS.items():
        path = shared / "models" / file
        if not path.exists():
            print(f"SKIPPED: {path} is absent")
            continue
        samples = onnx_quant.images(shared, kind_of_image)
        source = folder / f"{network}.onnx"
        onnx_quant.quant_pre_process(str(path), str(source), skip_symbolic_shape=True)
        for kind in KINDS:
            comparison.graph(network, source, samples, images, kind, str(path))
        source.unlink()
    return list(comparison.rows.values())


def main():
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    run_suites(__doc__, 2, random_suite, real_suite)


if __name__ == "__main__":
    main()
