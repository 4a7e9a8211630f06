#!/usr/bin/env python3
"""Quantises float ONNX models with ONNX Runtime and compares Trunkline with it, map by map, live.

Usage: onnx_quant.py live SHARED_FOLDER [--trunkline PROGRAM] [--keep FOLDER] [FILTER ...]
       onnx_quant.py tiny OUTPUT_FOLDER
(needs onnx, onnxruntime, numpy, pillow)

`live`: every network is quantised by quantize_static in both formats (QDQ, QOperator), with unsigned
and signed activations, per tensor and per channel. For each, ONNX Runtime's codes (all that it can
give out) are written as goldens and `trunkline verify MODEL --golden FILE.npz` compares them; it names
the first difference. `tiny`: makes the committed goldens of tests/onnx_quant.rs from two small
networks with random weights.

Which codes are a QDQ model's? Up to optimisation level `basic`, ONNX Runtime runs the float operators
between DequantizeLinear and QuantizeLinear in f32; from `extended` on it runs the integer operators
that the QOperator format names. Trunkline's rule is the integer operator, so the reference is
`extended`; how many codes `basic` has otherwise is counted and printed beside it. With signed
activations x86 fuses only where it can turn them into unsigned ones, and runs the rest in f32, unless
session.qdqisint8allowed is 1 (ARM's default), which it is here.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

NETWORKS = {
    "resnet20": ("cifar10_resnets/resnet20_cifar10.onnx", "cifar"),
    "resnet56": ("cifar10_resnets/resnet56_cifar10.onnx", "cifar"),
    "tiny_darknet": ("tiny_darknet/tiny_darknet_imagenet.onnx", "unit"),
    "mobilenet_v1_0.25": ("stm_mobilenetv1/mobilenet_v1_0.25_224.onnx", "signed"),
}
NORMALISE = {
    "cifar": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "unit": ([0.0] * 3, [1.0] * 3),
    "signed": ([0.5] * 3, [0.5] * 3),
}
FORMATS = {"qdq": QuantFormat.QDQ, "qop": QuantFormat.QOperator}
ACTIVATIONS = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
LEVELS = ort.GraphOptimizationLevel
# Operators that leave no node of their own in Trunkline's graph: their codes are another map's.
SAME_MAP = {"Flatten", "Reshape", "Identity", "Dropout", "Squeeze", "Unsqueeze"}


class Images(CalibrationDataReader):
    def __init__(self, name, images):
        self.feeds = iter([{name: image} for image in images])

    def get_next(self):
        return next(self.feeds, None)


def images(shared, kind):
    from PIL import Image

    if kind == "cifar":
        sheet = np.asarray(Image.open(f"{shared}/data/cifar10/cifar10_train_batch_0.png").convert("RGB"))
        tiles = [sheet[0:32, x : x + 32] for x in range(0, 16 * 32, 32)]
    else:
        names = ["cat.bmp", "hot_dog.jpg", "owl.jpg", "parrot.jpg"]
        photos = [Image.open(f"{shared}/models/coral/{name}").convert("RGB") for name in names]
        tiles = [np.asarray(photo.resize((224, 224))) for photo in photos]
    mean, std = (np.array(v, np.float32) for v in NORMALISE[kind])
    return [((t.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)[None].astype(np.float32) for t in tiles]


def quantise(path, out, samples, form, activation, per_channel):
    name = onnx.load(path).graph.input[0].name
    quantize_static(path, out, Images(name, samples), quant_format=FORMATS[form], weight_type=QuantType.QInt8,
                    activation_type=ACTIVATIONS[activation], per_channel=per_channel)


def coded_maps(model):
    """(node number, name of the codes) of every map that a node codes, in order."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name for tensor in model.graph.initializer}
    found = []
    for number, node in enumerate(model.graph.node):
        source = made_by.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if node.op_type == "QuantizeLinear" and node.input[0] in constants:
            continue
        if source is not None and source.op_type in SAME_MAP:
            continue
        if node.op_type == "QuantizeLinear" or node.op_type.startswith("QLinear") or node.op_type == "QGemm":
            found.append((number, node.output[0]))
        elif node.op_type == "MaxPool" and node.input[0] in {name for _, name in found}:
            found.append((number, node.output[0]))
    return found


def run(model, names, image, level):
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    exposed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = ort.InferenceSession(exposed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(names, {session.get_inputs()[0].name: image})


def channels_last(codes):
    return np.ascontiguousarray(codes.transpose(0, 2, 3, 1)) if codes.ndim == 4 else codes


def golden(path, out, samples):
    """Writes X.golden.npz and X.golden_layers.npz; returns how many codes `basic` has otherwise, of how many."""
    model = onnx.load(path)
    maps = coded_maps(model)
    names = [name for _, name in maps]
    inputs, outputs, layers, apart, compared = [], [], {}, 0, 0
    for i, image in enumerate(samples):
        whole = run(model, names, image, LEVELS.ORT_ENABLE_EXTENDED)
        alone = run(model, names[-1:], image, LEVELS.ORT_ENABLE_EXTENDED)[0]
        assert np.array_equal(whole[-1], alone), "exposing the maps changes the output"
        for (number, _), codes in zip(maps, whole):
            layers[f"in{i}_op{number}_MAP_t{number}"] = channels_last(codes)
        inputs.append(channels_last(whole[0]))
        outputs.append(channels_last(alone).reshape(alone.shape[0], -1))
        basic = run(model, names, image, LEVELS.ORT_ENABLE_BASIC)
        apart += sum(int((a != b).sum()) for a, b in zip(basic, whole))
        compared += sum(a.size for a in whole)
    np.savez_compressed(f"{out}.golden.npz", inputs=np.concatenate(inputs), onnxruntime=np.concatenate(outputs))
    np.savez_compressed(f"{out}.golden_layers.npz", **layers)
    return apart, compared


def live(arguments):
    folder = arguments.keep or tempfile.mkdtemp(prefix="trunkline-onnx-")
    os.makedirs(folder, exist_ok=True)
    print(f"onnxruntime {ort.__version__}, models and goldens in {folder}")
    failed = 0
    for network, (file, kind) in NETWORKS.items():
        samples = images(arguments.shared, kind)
        prepared = f"{folder}/{network}.onnx"
        quant_pre_process(f"{arguments.shared}/models/{file}", prepared, skip_symbolic_shape=True)
        for form in FORMATS:
            for activation in ACTIVATIONS:
                for scales in ("per-tensor", "per-channel"):
                    name = f"{network}.{form}.{activation}.{scales}"
                    if arguments.filter and not any(f in name for f in arguments.filter):
                        continue
                    path = f"{folder}/{name}.onnx"
                    quantise(prepared, path, samples, form, activation, scales == "per-channel")
                    apart, compared = golden(path, path[:-5], samples[: arguments.images])
                    program = [arguments.trunkline, "verify", path, "--golden", f"{path[:-5]}.golden.npz"]
                    verdict = subprocess.run(program, capture_output=True, text=True)
                    said = (verdict.stdout + verdict.stderr).strip()
                    failed += verdict.returncode != 0
                    print(f"\n{name}: basic has {apart} of {compared} codes otherwise than extended\n{said}", flush=True)
    print(f"\n{failed} models differ")
    return min(failed, 1)


def tiny_network():
    """Convolutions (strided, depthwise, 1×1), a residual sum, pooling, a linear layer, softmax."""
    random = np.random.default_rng(20)
    weights, nodes = {}, []

    def weight(name, *shape):
        weights[name] = (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=f"{op}_{output}", **attributes))
        return output

    x = node("Conv", ["x", weight("w0", 8, 3, 3, 3), weight("b0", 8)], "c0", pads=[1, 1, 1, 1])
    x = node("Relu", [x], "r0")
    y = node("Conv", [x, weight("w1", 8, 1, 3, 3), weight("b1", 8)], "c1", pads=[1, 1, 1, 1], group=8)
    y = node("LeakyRelu", [y], "l1", alpha=0.1)
    x = node("Add", [x, y], "a1")
    x = node("MaxPool", [x], "m1", kernel_shape=[2, 2], strides=[2, 2])
    y = node("Conv", [x, weight("w2", 8, 8, 1, 1), weight("b2", 8)], "c2")
    y = node("Sigmoid", [y], "s2")
    x = node("Mul", [x, y], "u2")
    x = node("Concat", [x, y], "k2", axis=1)
    x = node("AveragePool", [x], "p2", kernel_shape=[2, 2], strides=[2, 2])
    x = node("GlobalAveragePool", [x], "g3")
    x = node("Flatten", [x], "f3")
    x = node("Gemm", [x, weight("w3", 10, 16), weight("b3", 10)], "d3", transB=1)
    node("Softmax", [x], "y", axis=-1)
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    initialisers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "tiny", [value("x", [1, 3, 8, 8])], [value("y", [1, 10])], initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def tiny(arguments):
    random = np.random.default_rng(8)
    samples = [random.standard_normal((1, 3, 8, 8)).astype(np.float32) for _ in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(tiny_network(), f"{folder}/tiny.onnx")
        for form in FORMATS:
            for activation, per_channel in (("u8", True), ("s8", False)):
                name = f"{arguments.folder}/tiny_{form}_{activation}"
                quantise(f"{folder}/tiny.onnx", f"{name}.onnx", samples, form, activation, per_channel)
                golden(f"{name}.onnx", name, samples[:2])
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("live")
    command.add_argument("shared")
    command.add_argument("filter", nargs="*")
    command.add_argument("--trunkline", default="trunkline")
    command.add_argument("--keep")
    command.add_argument("--images", type=int, default=2)
    command.set_defaults(run=live)
    command = commands.add_parser("tiny")
    command.add_argument("folder")
    command.set_defaults(run=tiny)
    arguments = parser.parse_args()
    sys.exit(arguments.run(arguments))


if __name__ == "__main__":
    main()
