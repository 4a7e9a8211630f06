"""The measured networks, once, in float: layers with random weights, or read from a real TFLite model.

Every peer's file is written from one of these (`onnx_files.py`, `tflite_files.py`), so that all engines
run the same layer shapes. Batch norm is folded, as every converter does. Weights are random: these files
say how fast an engine is, never how accurate.
"""
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "conformance"))


@dataclass
class Layer:
    op: str  # conv, linear, add, mul, max-pool, avg-pool, mean, pad-channels, flatten, softmax
    inputs: list
    output: str
    act: str = ""  # relu, relu6, hard-swish, hard-sigmoid
    weight: np.ndarray = None  # conv: out, in/groups, h, w; linear: out, in
    bias: np.ndarray = None
    stride: tuple = (1, 1)
    pad: tuple = (0, 0, 0, 0)  # top, left, bottom, right
    kernel: tuple = (1, 1)
    groups: int = 1
    channels: int = 0  # that pad-channels adds


@dataclass
class Network:
    name: str
    side: int
    seed: int = 0
    layers: list = field(default_factory=list)
    shapes: dict = field(default_factory=dict)  # channels, height, width
    macs: int = 0

    def __post_init__(self):
        self.rng = np.random.default_rng(self.seed)
        self.shapes["input"] = (3, self.side, self.side)
        self.at = "input"

    def put(self, op, inputs, shape, **fields):
        output = f"v{len(self.layers)}"
        self.layers.append(Layer(op, inputs, output, **fields))
        self.shapes[output] = shape
        self.at = output
        return output

    def conv_of(self, x, weight, bias, stride, pad, act="", groups=1):
        _, h, w = self.shapes[x]
        out_c, depth, kh, kw = weight.shape
        shape = (out_c, (h + pad[0] + pad[2] - kh) // stride[0] + 1, (w + pad[1] + pad[3] - kw) // stride[1] + 1)
        self.macs += weight.size * shape[1] * shape[2]
        return self.put("conv", [x], shape, weight=weight, bias=bias, stride=stride, pad=pad, act=act, groups=groups)

    def conv(self, out_c, kernel, stride=1, act="", groups=1, gain=1.0, x=None):
        x = x or self.at
        depth = self.shapes[x][0] // groups
        sigma = gain * np.sqrt(2 / (depth * kernel * kernel))
        weight = self.rng.normal(0, sigma, (out_c, depth, kernel, kernel)).astype(np.float32)
        bias = self.rng.normal(0, 0.05, out_c).astype(np.float32)
        return self.conv_of(x, weight, bias, (stride, stride), (kernel // 2,) * 4, act, groups)

    def linear_of(self, weight, bias, act=""):
        self.macs += weight.size
        return self.put("linear", [self.at], (weight.shape[0],), weight=weight, bias=bias, act=act)

    def linear(self, outputs, act=""):
        (inputs,) = self.shapes[self.at]
        weight = self.rng.normal(0, 1 / np.sqrt(inputs), (outputs, inputs)).astype(np.float32)
        return self.linear_of(weight, np.zeros(outputs, np.float32), act)

    def add(self, a, b, act=""):
        return self.put("add", [a, b], self.shapes[a], act=act)

    def pool(self, op, kernel, stride, pad=(0, 0, 0, 0), x=None):
        x = x or self.at
        c, h, w = self.shapes[x]
        shape = (c, (h + pad[0] + pad[2] - kernel[0]) // stride[0] + 1, (w + pad[1] + pad[3] - kernel[1]) // stride[1] + 1)
        return self.put(op, [x], shape, kernel=kernel, stride=stride, pad=pad)

    def mean(self, x=None):
        x = x or self.at
        return self.put("mean", [x], (self.shapes[x][0], 1, 1))

    def flatten(self):
        return self.put("flatten", [self.at], (int(np.prod(self.shapes[self.at])),))


# What a block's last convolution is scaled by, so that sums of blocks do not grow.
LAST_GAIN = 0.3


def resnet26():
    """As Trunkline's zoo has it, without the batch norm that stands alone at the end."""
    net = Network("resnet26", 64)
    net.conv(32, 3)
    for planes in (64, 128, 256):
        for block in range(4):
            entry, stride = net.at, 2 if block == 0 else 1
            net.conv(planes, 3, stride, "relu")
            main = net.conv(planes, 3, gain=LAST_GAIN)
            if stride == 2:
                missing = planes - net.shapes[entry][0]
                entry = net.pool("avg-pool", (2, 2), (2, 2), x=entry)
                if missing:
                    c, h, w = net.shapes[entry]
                    entry = net.put("pad-channels", [entry], (planes, h, w), channels=missing)
            net.add(main, entry, "relu")
    net.mean()
    net.flatten()
    net.linear(10)
    return net


def resnet34():
    net = Network("resnet34", 224)
    net.conv(64, 7, 2, "relu")
    net.pool("max-pool", (3, 3), (2, 2), (1, 1, 1, 1))
    for stage, blocks in enumerate((3, 4, 6, 3)):
        planes = 64 << stage
        for block in range(blocks):
            entry, stride = net.at, 2 if stage > 0 and block == 0 else 1
            net.conv(planes, 3, stride, "relu")
            main = net.conv(planes, 3, gain=LAST_GAIN)
            if stride == 2:
                entry = net.conv(planes, 1, 2, x=entry)
            net.add(main, entry, "relu")
    net.mean()
    net.flatten()
    net.linear(1000)
    return net


# Kernel, expanded channels, output channels, gate, activation, stride.
MOBILENETV3_LARGE = [
    (3, 16, 16, 0, "relu", 1), (3, 64, 24, 0, "relu", 2), (3, 72, 24, 0, "relu", 1), (5, 72, 40, 1, "relu", 2),
    (5, 120, 40, 1, "relu", 1), (5, 120, 40, 1, "relu", 1), (3, 240, 80, 0, "hard-swish", 2),
    (3, 200, 80, 0, "hard-swish", 1), (3, 184, 80, 0, "hard-swish", 1), (3, 184, 80, 0, "hard-swish", 1),
    (3, 480, 112, 1, "hard-swish", 1), (3, 672, 112, 1, "hard-swish", 1), (5, 672, 160, 1, "hard-swish", 2),
    (5, 960, 160, 1, "hard-swish", 1), (5, 960, 160, 1, "hard-swish", 1)]


def multiple_of_8(wanted):
    nearest = max(8, int(wanted + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * wanted else nearest


def mobilenetv3_large():
    net = Network("mobilenetv3-large", 224)
    net.conv(16, 3, 2, "hard-swish")
    for kernel, expanded, out, gate, act, stride in MOBILENETV3_LARGE:
        entry = net.at
        if expanded != net.shapes[entry][0]:
            net.conv(expanded, 1, act=act)
        net.conv(expanded, kernel, stride, act, groups=expanded)
        if gate:
            gated = net.at
            net.mean()
            net.conv(multiple_of_8(expanded / 4), 1, act="relu")
            factor = net.conv(expanded, 1, act="hard-sigmoid")
            net.put("mul", [gated, factor], net.shapes[gated])
        net.conv(out, 1, gain=LAST_GAIN if net.shapes[entry][0] == out and stride == 1 else 1.0)
        if stride == 1 and net.shapes[entry][0] == out:
            net.add(net.at, entry)
    net.conv(960, 1, act="hard-swish")
    net.mean()
    net.flatten()
    net.linear(1280, "hard-swish")
    net.linear(1000)
    return net


ACTS = {0: "", 1: "relu", 3: "relu6"}


def same(extent, kernel, stride):
    """TFLite's SAME padding: the odd position after."""
    total = max((-(-extent // stride) - 1) * stride + kernel - extent, 0)
    return total // 2, total - total // 2


def from_tflite(path, name):
    """The float network behind a quantised TFLite classifier."""
    import tflite_builder
    model = tflite_builder.unpack(Path(path).read_bytes())
    graph = model.subgraphs[0]

    def real(index):
        tensor = graph.tensors[index]
        kinds = {9: np.int8, 3: np.uint8, 2: np.int32}
        data = np.frombuffer(np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes(), kinds[tensor.type])
        codes = data.reshape([int(n) for n in tensor.shape]).astype(np.float32)
        scales = np.asarray(tensor.quantization.scale, np.float32)
        offsets = np.asarray(tensor.quantization.zeroPoint, np.float32)
        spread = [1] * codes.ndim
        spread[tensor.quantization.quantizedDimension if len(scales) > 1 else 0] = len(scales)
        return (codes - offsets.reshape(spread)) * scales.reshape(spread)

    net = Network(name, int(graph.tensors[graph.inputs[0]].shape[1]))
    values = {int(graph.inputs[0]): "input"}
    for op, kind in zip(graph.operators, tflite_builder.operator_names(model)):
        options, x = op.builtinOptions, values[int(op.inputs[0])]
        shape = net.shapes[x]

        def pads(kernel, stride):
            if options.padding == tflite_builder.VALID:
                return (0, 0, 0, 0)
            (top, bottom), (left, right) = same(shape[1], kernel[0], stride[0]), same(shape[2], kernel[1], stride[1])
            return top, left, bottom, right

        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            weight, stride = real(op.inputs[1]), (options.strideH, options.strideW)
            depthwise = kind == "DEPTHWISE_CONV_2D"
            weight = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
            y = net.conv_of(x, np.ascontiguousarray(weight), real(op.inputs[2]), stride, pads(weight.shape[2:], stride),
                            ACTS[options.fusedActivationFunction], shape[0] if depthwise else 1)
        elif kind == "FULLY_CONNECTED":
            net.at = x
            y = net.linear_of(real(op.inputs[1]), real(op.inputs[2]), ACTS[options.fusedActivationFunction])
        elif kind == "ADD":
            y = net.add(x, values[int(op.inputs[1])], ACTS[options.fusedActivationFunction])
        elif kind == "AVERAGE_POOL_2D" and (options.filterHeight, options.filterWidth) == shape[1:]:
            y = net.mean(x)
        elif kind == "MEAN":
            y = net.mean(x)
            if len(graph.tensors[op.outputs[0]].shape) == 2:
                y = net.flatten()
        elif kind in ("RESHAPE", "QUANTIZE"):
            net.at = x
            y = net.flatten() if kind == "RESHAPE" and len(shape) == 3 else x
        elif kind == "SOFTMAX":
            y = net.put("softmax", [x], shape)
        else:
            raise ValueError(f"{path}: {kind} is in no measured model")
        values[int(op.outputs[0])] = y
    return net
