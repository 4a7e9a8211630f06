"""A network as a full-int8 TFLite file, through the builder of the conformance tests.

Padding is SAME, as Keras writes it: for even sizes the odd position lies after the map, where the ONNX
files have it on both sides. The work is the same.
"""
import numpy as np

import tflite_builder as tb

FUSED = {"": tb.NONE, "relu": tb.RELU, "relu6": tb.RELU6, "hard-swish": tb.NONE, "hard-sigmoid": tb.NONE}


def coding(low, high):
    """An asymmetric int8 coding whose range holds zero."""
    low, high = min(low, 0.0), max(high, 1e-6)
    scale = float(np.float32((high - low) / 255))
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


def quantised(weight, axis):
    """Symmetric codes with one scale per channel along `axis`."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scales = (np.maximum(np.abs(weight).max(axis=others), 1e-6) / 127).astype(np.float32)
    spread = [1] * weight.ndim
    spread[axis] = -1
    return np.clip(np.rint(weight / scales.reshape(spread)), -127, 127).astype(np.int8), scales


class Writer:
    def __init__(self, net, ranges, batch):
        self.net, self.batch = net, batch
        self.coded = {name: coding(*bounds) for name, bounds in ranges.items()}
        c, h, w = net.shapes["input"]
        self.tflite = tb.Tflite([batch, h, w, c], *self.coded["input"])
        self.maps = {"input": self.tflite.input}

    def bias(self, layer, x, scales):
        return np.rint(layer.bias / (self.tflite.scale(x) * scales.astype(np.float64)))

    def layer(self, layer):
        t, x, out = self.tflite, self.maps[layer.inputs[0]], self.coded[layer.output]
        fused = FUSED[layer.act]
        if layer.act in ("hard-swish", "hard-sigmoid"):
            # The layer before the function: its range is near the function's own, on both sides of zero.
            spread = 255 * out[0]
            bare = coding(-spread / 2, spread) if layer.act == "hard-swish" else coding(-4, 4)
        else:
            bare = out
        if layer.op == "conv":
            y = self.conv(layer, x, bare, fused)
        elif layer.op == "linear":
            codes, scales = quantised(layer.weight, 0)
            y = t.fully_connected(x, codes, scales, self.bias(layer, x, scales), bare, fused)
        elif layer.op in ("add", "mul"):
            y = getattr(t, layer.op)(x, self.maps[layer.inputs[1]], bare, fused)
        elif layer.op in ("max-pool", "avg-pool"):
            name = "MAX_POOL_2D" if layer.op == "max-pool" else "AVERAGE_POOL_2D"
            y = t.pool(name, x, layer.kernel, layer.stride, tb.SAME)
        elif layer.op == "mean":
            y = t.mean(x, out)
        elif layer.op == "pad-channels":
            y = t.pad(x, [[0, 0], [0, 0], [0, 0], [0, layer.channels]])
        elif layer.op == "flatten":
            y = t.reshape(x, [self.batch, *self.net.shapes[layer.output]])
        else:
            raise ValueError(f"{layer.op} is in no network that is written as TFLite")
        if layer.act == "hard-swish":
            y = t.hard_swish(y, out)
        elif layer.act == "hard-sigmoid":
            y = self.hard_sigmoid(y)
        self.maps[layer.output] = y

    def conv(self, layer, x, out, fused):
        if layer.groups == 1:
            codes, scales = quantised(layer.weight.transpose(0, 2, 3, 1), 0)
            return self.tflite.conv(x, codes, scales, self.bias(layer, x, scales), out, layer.stride, tb.SAME, (1, 1), fused)
        codes, scales = quantised(layer.weight.transpose(1, 2, 3, 0), 3)
        return self.tflite.depthwise(x, codes, scales, self.bias(layer, x, scales), out, layer.stride, tb.SAME, (1, 1), fused)

    def hard_sigmoid(self, x):
        """relu6(x + 3) / 6, in the operators that Keras gives."""
        t = self.tflite
        constant = lambda value: t.constant(np.array([127], np.int8), [value / 127])
        clipped = t.add(x, constant(3.0), (6 / 255, -128), tb.RELU6)
        return t.mul(clipped, constant(1 / 6), (1 / 255, -128))

    def bytes(self):
        for layer in self.net.layers:
            self.layer(layer)
        return self.tflite.bytes()
