#!/usr/bin/env python3
"""Compares Trunkline with the TFLite runtimes, code by code, on random graphs and on real models.

Peers, each under the profile that is its arithmetic: LiteRT's reference kernels (`tflite-ref`), LiteRT
as it comes, with XNNPACK (`tflite-xnnpack`), LiteRT's optimised x86 kernels without a delegate
(`tflite-x86`), and TFLite-Micro (`tflm`). No released package has the arithmetic of `tflite-single`. Every graph runs twice in a
peer: as it is, for the output, and with every layer as an output, for the layers. The first difference
is named with what reproduces it; its model and golden file are kept.

  tflite_live.py --binary target/release/trunkline --graphs 300
  tflite_live.py --binary target/release/trunkline --seed 17        # one graph, for a closer look
"""
import os
import re

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np

import random_graphs
import tflite_builder
from trunkline_cli import Row, run_suites, save_golden

REAL_MODELS = ["mlperf_tiny/pretrainedResnet_quant", "mlperf_tiny/vww_96_int8", "mlperf_tiny/kws_ref_model",
               "mlperf_tiny/ad01_int8", "coral/mobilenet_v1_0.25_128_quant", "coral/tf2_mobilenet_v2_1.0_224_ptq"]


class LiteRt:
    types = (np.int8, np.uint8)

    def __init__(self, resolver):
        from ai_edge_litert.interpreter import OpResolverType
        self.resolver = getattr(OpResolverType, resolver)

    def run(self, model, inputs):
        from ai_edge_litert.interpreter import Interpreter
        interpreter = Interpreter(model_content=model, experimental_op_resolver_type=self.resolver, num_threads=1)
        interpreter.allocate_tensors()
        at = interpreter.get_input_details()[0]["index"]
        outputs = [d["index"] for d in interpreter.get_output_details()]
        for image in inputs:
            interpreter.set_tensor(at, image)
            interpreter.invoke()
            yield [interpreter.get_tensor(o).copy() for o in outputs]


class Micro:
    types = (np.int8,)
    ARENA_BYTES = 64 << 20

    def run(self, model, inputs):
        from tflite_micro.python.tflite_micro import runtime
        interpreter = runtime.Interpreter.from_bytes(model, arena_size=self.ARENA_BYTES)
        count = len(tflite_builder.unpack(model).subgraphs[0].outputs)
        for image in inputs:
            interpreter.set_input(image, 0)
            interpreter.invoke()
            yield [interpreter.get_output(i).copy() for i in range(count)]


# Peer, the array's name in a golden file, profile, its constructor.
PEERS = [
    ("LiteRT reference kernels", "litert_ref", "tflite-ref", lambda: LiteRt("BUILTIN_REF")),
    ("LiteRT with XNNPACK", "litert_default", "tflite-xnnpack", lambda: LiteRt("AUTO")),
    ("LiteRT without delegate", "litert_builtin", "tflite-x86", lambda: LiteRt("BUILTIN_WITHOUT_DEFAULT_DELEGATES")),
    ("TFLite-Micro", "tflm", "tflm", Micro),
]


def record(peer, reference, model, inputs, stem):
    """Runs a model in a peer and writes what it computed; returns the golden file."""
    outputs = np.stack([maps[-1] for maps in peer.run(model, inputs)])
    every, tensors = tflite_builder.with_every_output(model)
    names = tflite_builder.operator_names(tflite_builder.unpack(model))
    numbers = [i for i, op in enumerate(tflite_builder.unpack(model).subgraphs[0].operators)
               if int(op.outputs[0]) in tensors]
    layers = {}
    for i, maps in enumerate(peer.run(every, inputs)):
        for number, tensor, codes in zip(numbers, tensors, maps):
            layers[f"in{i}_op{number:02}_{names[number]}_t{tensor}"] = codes
    return save_golden(stem, reference, inputs, outputs, layers)


class Comparison:
    def __init__(self, binary, folder, rows, verbose):
        self.binary, self.folder, self.rows, self.verbose = binary, folder, rows, verbose
        self.peers = {row.peer: make() for row, (_, _, _, make) in zip(rows, PEERS)}

    def graph(self, name, model, inputs, reproduce):
        path = self.folder / f"{name}.tflite"
        path.write_bytes(model)
        kept = False
        for row, (peer, reference, profile, _) in zip(self.rows, PEERS):
            if row.skipped or inputs.dtype not in self.peers[peer].types:
                continue
            stem = self.folder / f"{name}.{profile}"
            try:
                golden = record(self.peers[peer], reference, model, inputs, stem)
            except (RuntimeError, ValueError) as why:
                row.refused_by_peer += 1
                self.say(f"REFUSED by {peer}: {name}: {str(why).splitlines()[0][:160]}", self.verbose)
                continue
            try:
                verdict = self.binary.verify(path, golden, profile)
            except RuntimeError as why:
                row.failed += 1
                kept = True
                self.say(f"ERROR {peer}: {name}: {why}; {reproduce}", self.verbose or row.failed <= 3)
                continue
            row.take(verdict)
            kept |= self.name_first(row, name, verdict, reproduce, golden)
            if not verdict["differing"]:
                golden.unlink()
                golden.with_name(stem.name + ".golden_layers.npz").unlink()
        if not kept:
            path.unlink()

    def name_first(self, row, name, verdict, reproduce, golden):
        first = verdict["first"]
        if first is None:
            return False
        operator = re.sub(r"^in\d+_op\d+_|_t\d+$", "", first["array"])
        row.first_by_operator[operator] += 1
        self.say(f"DIFFERS {row.peer} / {row.profile}: {name}, layer '{first['layer']}' ({first['array']}), input "
                 f"{first['input']}, index {first['index']}: ours {first['computed']}, theirs {first['recorded']}; "
                 f"{verdict['differing']} of {verdict['codes']} codes; {reproduce}; kept {golden}",
                 self.verbose or row.first_by_operator[operator] <= 3)
        return True

    @staticmethod
    def say(text, wanted):
        if wanted:
            print(text, flush=True)


# What the profile's own description leaves open.
INEXACT = {"tflite-x86": "the runtime's means, conversions and the last channels of a depthwise layer have forms of their own"}


def skip_unknown(rows, binary):
    for row in rows:
        row.inexact = INEXACT.get(row.profile, "")
        if not binary.has_profile(row.profile):
            row.skipped = "the binary has no such profile"


def random_suite(binary, folder, seeds, images, verbose):
    rows = [Row(peer, profile, "random TFLite graphs") for peer, _, profile, _ in PEERS]
    skip_unknown(rows, binary)
    comparison = Comparison(binary, folder, rows, verbose)
    operators = {}
    for seed in seeds:
        net = random_graphs.network(seed)
        for name in net.used:
            operators[name] = operators.get(name, 0) + 1
        inputs = random_graphs.inputs(seed, net.tflite.shape(net.tflite.input), net.tflite.dtype, images)
        comparison.graph(f"seed{seed}", net.tflite.bytes(), inputs, f"--seed {seed}")
    print("operators in the random graphs: " + ", ".join(f"{k} {n}" for k, n in sorted(operators.items())))
    return rows


def real_suite(binary, folder, models, images, verbose):
    rows = [Row(peer, profile, "real TFLite models") for peer, _, profile, _ in PEERS]
    skip_unknown(rows, binary)
    comparison = Comparison(binary, folder, rows, verbose)
    for seed, name in enumerate(REAL_MODELS):
        path = models / f"{name}.tflite"
        if not path.exists():
            print(f"SKIPPED: {path} is absent")
            continue
        inputs = np.load(path.with_suffix(".golden.npz"))["inputs"]
        shape = [1, *inputs.shape[1:]]
        made = random_graphs.inputs(seed, shape, inputs.dtype, images)
        inputs = np.concatenate([inputs[:images].reshape([-1, *shape]), made])
        comparison.graph(path.name.removesuffix(".tflite"), path.read_bytes(), inputs, str(path))
    return rows


def main():
    run_suites(__doc__, 4, random_suite, real_suite)


if __name__ == "__main__":
    main()
