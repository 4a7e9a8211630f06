"""Random small quantised networks, each a pure function of its seed.

Shapes, strides, windows, scales, zero points and the operators' order are drawn. Output scales follow
the spread that is expected of a layer's values, so that most codes are neither zero nor clamped, which
would hide differences; one scale in ten is far off on purpose.
"""
import numpy as np

from tflite_builder import NONE, RELU, RELU6, SAME, VALID, Tflite

MAX_ELEMENTS = 6000
MAX_CHANNELS = 72


class Network:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        # Legacy uint8 models are quantised per tensor; one graph in eight is one.
        self.legacy = self.rng.random() < 0.125
        self.low = 0 if self.legacy else -128
        shape = [1, self.integer(1, 18), self.integer(1, 18), self.integer(1, 20)]
        scale = 10 ** self.rng.uniform(-2.5, -0.5)
        self.tflite = Tflite(shape, scale, self.zero_point(), np.uint8 if self.legacy else np.int8)
        self.at = self.tflite.input
        self.spread = {self.at: 73 * scale}
        self.used = []

    # Draws

    def integer(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability):
        return self.rng.random() < probability

    def pick(self, choices):
        return choices[self.integer(0, len(choices) - 1)]

    def zero_point(self):
        if self.chance(0.2):
            return self.low
        return self.low + (self.integer(70, 190) if self.chance(0.8) else self.integer(0, 255))

    def coding(self, spread, fused=NONE):
        """A scale and zero point for values of that spread."""
        scale = spread / self.rng.uniform(22, 70)
        if self.chance(0.1):
            scale *= 10 ** self.rng.uniform(-0.8, 0.8)
        zero_point = self.low if fused != NONE and self.chance(0.6) else self.zero_point()
        return float(np.float32(scale)), zero_point

    def fused(self):
        return self.pick([NONE, NONE, RELU, RELU6])

    def weights(self, shape, channels, axis):
        """Codes, their scales and zero point, and their mean square in real terms."""
        if self.legacy:
            zero_point, codes = self.integer(90, 160), self.rng.integers(0, 256, shape).astype(np.uint8)
        else:
            zero_point, codes = 0, self.rng.integers(-127, 128, shape).astype(np.int8)
        base = 10 ** self.rng.uniform(-3.5, -1.5)
        per_channel = not self.legacy and self.chance(0.75)
        scales = base * self.rng.uniform(0.3, 2.0, channels if per_channel else 1)
        return codes, scales.astype(np.float32), zero_point, 74 * float(np.mean(scales))

    def bias(self, scales, channels, spread, x_scale):
        unit = np.broadcast_to(scales, channels).astype(np.float64) * x_scale
        return np.clip(np.rint(self.rng.normal(0, 0.5 * spread, channels) / unit), -2**28, 2**28).astype(np.int32)

    # State

    @property
    def shape(self):
        return self.tflite.shape(self.at)

    def go(self, name, output, spread):
        self.at = output
        self.spread[output] = spread
        self.used.append(name)

    def keep(self, name, output):
        self.go(name, output, self.spread[self.at])

    # Operators; each says whether it could be placed

    def window(self):
        _, h, w, _ = self.shape
        kernel = [self.pick([1, 1, 2, 3, 3, 5]), self.pick([1, 1, 2, 3, 3, 5])]
        if self.chance(0.6):
            kernel[1] = kernel[0]
        padding = self.pick([SAME, VALID])
        if padding == VALID:
            kernel = [min(kernel[0], h), min(kernel[1], w)]
        stride = self.pick([(1, 1), (1, 1), (2, 2), (2, 2), (1, 2), (3, 2)])
        return kernel, stride, padding

    def conv(self):
        _, h, w, c = self.shape
        kernel, stride, padding = self.window()
        dilation = (1, 1)
        if stride == (1, 1) and self.chance(0.15) and all((k - 1) * 2 + 1 <= n for k, n in zip(kernel, (h, w))):
            dilation = (2, 2)
        out_c = self.integer(1, 40) if self.chance(0.8) else self.integer(41, MAX_CHANNELS)
        codes, scales, zero_point, rms = self.weights([out_c, *kernel, c], out_c, 0)
        spread = np.sqrt(kernel[0] * kernel[1] * c) * self.spread[self.at] * rms
        fused = self.fused()
        bias = self.bias(scales, out_c, spread, self.tflite.scale(self.at))
        out = self.coding(spread, fused)
        self.go("CONV_2D", self.tflite.conv(self.at, codes, scales, bias, out, stride, padding, dilation, fused,
                                            zero_point), spread)

    def depthwise(self):
        _, _, _, c = self.shape
        kernel, stride, padding = self.window()
        # XNNPACK and Micro take unequal strides here; the delegate's fallback does not.
        stride = (stride[0], stride[0])
        multiplier = 1 if c > MAX_CHANNELS // 2 or self.chance(0.7) else 2
        codes, scales, zero_point, rms = self.weights([1, *kernel, c * multiplier], c * multiplier, 3)
        spread = np.sqrt(kernel[0] * kernel[1]) * self.spread[self.at] * rms
        fused = self.fused()
        bias = self.bias(scales, c * multiplier, spread, self.tflite.scale(self.at))
        out = self.coding(spread, fused)
        self.go("DEPTHWISE_CONV_2D", self.tflite.depthwise(self.at, codes, scales, bias, out, stride, padding, (1, 1),
                                                           fused, zero_point), spread)

    def partner(self):
        """Another map of the same shape, made if there is none."""
        same = [t for t in self.spread if t != self.at and self.tflite.shape(t) == self.shape]
        if same and self.chance(0.8):
            return self.pick(same)
        entry = self.at
        out = self.coding(self.spread[entry])
        self.go("QUANTIZE", self.tflite.quantize(entry, out), self.spread[entry])
        made, self.at = self.at, entry
        return made

    def add(self):
        other, fused = self.partner(), self.fused()
        spread = float(np.hypot(self.spread[self.at], self.spread[other]))
        self.go("ADD", self.tflite.add(self.at, other, self.coding(spread, fused), fused), spread)

    def mul(self):
        other, fused = self.partner(), self.fused()
        spread = self.spread[self.at] * self.spread[other]
        self.go("MUL", self.tflite.mul(self.at, other, self.coding(spread, fused), fused), spread)

    def squeeze_excite(self):
        """A mean, a 1×1 convolution, a gate, and the product of every channel with it."""
        entry, c = self.at, self.shape[3]
        spread = self.spread[entry] / np.sqrt(self.shape[1] * self.shape[2])
        self.go("MEAN", self.tflite.mean(entry, self.coding(spread), True), spread)
        codes, scales, zero_point, rms = self.weights([c, 1, 1, c], c, 0)
        spread = np.sqrt(c) * self.spread[self.at] * rms
        bias = self.bias(scales, c, spread, self.tflite.scale(self.at))
        out = self.coding(spread)
        self.go("CONV_2D", self.tflite.conv(self.at, codes, scales, bias, out, zero_point=zero_point), spread)
        self.go("LOGISTIC", self.tflite.logistic(self.at), 0.25)
        spread = self.spread[entry] * 0.5
        self.go("MUL", self.tflite.mul(entry, self.at, self.coding(spread)), spread)

    def pool(self):
        kernel, stride, padding = self.window()
        name = self.pick(["AVERAGE_POOL_2D", "MAX_POOL_2D"])
        self.keep(name, self.tflite.pool(name, self.at, kernel, stride, padding, self.pick([NONE, NONE, RELU])))

    def pad(self):
        space = [[self.integer(0, 2), self.integer(0, 2)] for _ in range(2)]
        channels = [0, self.integer(0, 5)] if self.chance(0.4) else [0, 0]
        self.keep("PAD", self.tflite.pad(self.at, [[0, 0], *space, channels]))

    def concat(self):
        same = [t for t in self.spread if t != self.at and self.tflite.shape(t)[:3] == self.shape[:3]]
        if not same or self.legacy:
            return
        other = self.pick(same)
        coding = (self.tflite.scale(self.at), self.tflite.zero_point(self.at))
        if (self.tflite.scale(other), self.tflite.zero_point(other)) != coding:
            entry = self.at
            self.go("QUANTIZE", self.tflite.quantize(other, coding), self.spread[other])
            other, self.at = self.at, entry
        self.keep("CONCATENATION", self.tflite.concat([self.at, other]))

    def activation(self):
        spread = self.spread[self.at]
        name = self.pick(["LOGISTIC", "TANH", "LEAKY_RELU", "RELU", "RELU6"] if self.legacy else
                         ["LOGISTIC", "TANH", "HARD_SWISH", "HARD_SWISH", "LEAKY_RELU", "LEAKY_RELU", "RELU", "RELU6"])
        if name == "LOGISTIC":
            self.go(name, self.tflite.logistic(self.at), 0.3)
        elif name == "TANH":
            self.go(name, self.tflite.tanh(self.at), 0.5)
        elif name == "HARD_SWISH":
            self.go(name, self.tflite.hard_swish(self.at, self.coding(spread)), spread)
        elif name == "LEAKY_RELU":
            self.go(name, self.tflite.leaky_relu(self.at, self.pick([0.1, 0.3, 0.01]), self.coding(spread)), spread)
        elif name == "RELU":
            self.go(name, self.tflite.relu(name, self.at, self.coding(spread, RELU)), spread)
        else:
            # TFLite-Micro's RELU6 clamps and does not rescale, whatever the output's coding says.
            coding = (self.tflite.scale(self.at), self.tflite.zero_point(self.at))
            self.keep(name, self.tflite.relu(name, self.at, coding))

    def quantize(self):
        self.go("QUANTIZE", self.tflite.quantize(self.at, self.coding(self.spread[self.at])), self.spread[self.at])

    def head(self):
        """How a classifier ends: mean or flatten, fully connected, softmax."""
        if self.chance(0.5):
            spread = self.spread[self.at] / np.sqrt(self.shape[1] * self.shape[2])
            self.go("MEAN", self.tflite.mean(self.at, self.coding(spread), False), spread)
        else:
            self.keep("RESHAPE", self.tflite.reshape(self.at, [1, int(np.prod(self.shape))]))
        inputs, outputs = self.shape[1], self.integer(1, 24)
        codes, scales, zero_point, rms = self.weights([outputs, inputs], outputs, 0)
        spread = np.sqrt(inputs) * self.spread[self.at] * rms
        # A convolution without a bias is refused by LiteRT.
        bias = None if self.chance(0.2) else self.bias(scales, outputs, spread, self.tflite.scale(self.at))
        fused = self.fused()
        made = self.tflite.fully_connected(self.at, codes, scales, bias, self.coding(spread, fused), fused, zero_point)
        self.go("FULLY_CONNECTED", made, spread)
        if self.chance(0.6):
            beta = 1.0 if self.chance(0.8) else 0.5
            self.go("SOFTMAX", self.tflite.softmax(self.at, beta), 0.3)

    def build(self):
        body = [self.conv] * 4 + [self.depthwise] * 3 + [self.add] * 3 + [self.pool] * 2 + [self.activation] * 2 + [
            self.mul, self.squeeze_excite, self.pad, self.concat, self.quantize]
        for _ in range(self.integer(1, 7)):
            self.pick(body)()
            if np.prod(self.shape) > MAX_ELEMENTS:
                break
        if self.chance(0.5) or not self.used:
            self.head()
        return self


def inputs(seed, shape, dtype, count):
    """Input codes: uniform ones, a flat one, ones near the middle, one at both ends."""
    rng = np.random.default_rng([seed, 1])
    low = 0 if np.dtype(dtype) == np.uint8 else -128
    kinds = [lambda: rng.integers(0, 256, shape), lambda: np.clip(rng.normal(128, 40, shape), 0, 255),
             lambda: np.where(rng.random(shape) < 0.5, 0, 255), lambda: np.full(shape, rng.integers(0, 256))]
    return np.stack([(kinds[i % len(kinds)]().astype(np.int64) + low).astype(dtype) for i in range(count)])


def network(seed):
    return Network(seed).build()
