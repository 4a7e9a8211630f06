"""Random small float networks in ONNX, each a pure function of its seed, to be quantised by ONNX Runtime."""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

MAX_ELEMENTS = 6000


class Network:
    def __init__(self, seed):
        self.rng = np.random.default_rng([seed, 2])
        self.nodes, self.weights, self.used = [], [], []
        shape = (self.integer(1, 8), self.integer(3, 14), self.integer(3, 14))
        self.shapes, self.at = {"x": shape}, "x"

    def integer(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability):
        return self.rng.random() < probability

    def pick(self, choices):
        return choices[self.integer(0, len(choices) - 1)]

    @property
    def shape(self):
        return self.shapes[self.at]

    def weight(self, shape, sigma):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(self.rng.normal(0, sigma, shape).astype(np.float32), name))
        return name

    def node(self, op, inputs, shape, **attributes):
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{op}_{output}", **attributes))
        self.used.append(op)
        self.shapes[output] = tuple(int(n) for n in shape)
        self.at = output
        return output

    def window(self):
        _, h, w = self.shape
        kernel = [min(self.pick([1, 2, 3, 3, 5]), n) for n in (h, w)]
        stride = self.pick([[1, 1], [1, 1], [2, 2], [1, 2]])
        pads = [self.integer(0, (k - 1) // 2) for k in kernel] + [self.integer(0, k // 2) for k in kernel]
        outputs = [(n + pads[i] + pads[i + 2] - kernel[i]) // stride[i] + 1 for i, n in enumerate((h, w))]
        return {"kernel_shape": kernel, "strides": stride, "pads": pads}, outputs

    def conv(self):
        c = self.shape[0]
        depthwise = self.chance(0.3)
        groups = c if depthwise else 1
        out_c = c * self.pick([1, 1, 2]) if depthwise else self.integer(1, 36)
        attributes, outputs = self.window()
        kernel = attributes["kernel_shape"]
        weight = self.weight((out_c, c // groups, *kernel), 1.5 / np.sqrt(c // groups * kernel[0] * kernel[1]))
        inputs = [self.at, weight] + ([self.weight((out_c,), 0.3)] if self.chance(0.8) else [])
        self.node("Conv", inputs, (out_c, *outputs), group=groups, **attributes)
        act = self.pick(["", "Relu", "Relu", "LeakyRelu", "Sigmoid", "Clip"])
        if act == "Clip":
            bounds = [helper.make_tensor(f"c{len(self.weights)}{b}", TensorProto.FLOAT, [], [v]) for b, v in ((0, 0.0), (6, 6.0))]
            self.weights += bounds
            self.node("Clip", [self.at, *[b.name for b in bounds]], self.shape)
        elif act:
            self.node(act, [self.at], self.shape, **({"alpha": 0.1} if act == "LeakyRelu" else {}))

    def pair(self):
        same = [v for v, shape in self.shapes.items() if v != self.at and shape == self.shape]
        if same:
            self.node(self.pick(["Add", "Add", "Mul"]), [self.at, self.pick(same)], self.shape)

    def concat(self):
        same = [v for v, s in self.shapes.items() if v != self.at and len(s) == 3 and s[1:] == self.shape[1:]]
        if same:
            other = self.pick(same)
            shape = (self.shape[0] + self.shapes[other][0], *self.shape[1:])
            self.node("Concat", [self.at, other], shape, axis=1)

    def pool(self):
        attributes, outputs = self.window()
        self.node(self.pick(["MaxPool", "AveragePool"]), [self.at], (self.shape[0], *outputs), **attributes)

    def head(self):
        if self.chance(0.7):
            self.node("GlobalAveragePool", [self.at], (self.shape[0], 1, 1))
        inputs = int(np.prod(self.shape))
        self.node("Flatten", [self.at], (inputs,))
        outputs = self.integer(2, 24)
        weights = [self.weight((outputs, inputs), 1.5 / np.sqrt(inputs)), self.weight((outputs,), 0.3)]
        self.node("Gemm", [self.at, *weights], (outputs,), transB=1)
        if self.chance(0.5):
            self.node("Softmax", [self.at], self.shape, axis=-1)

    def build(self):
        self.conv()
        for _ in range(self.integer(0, 6)):
            self.pick([self.conv, self.conv, self.conv, self.pair, self.pair, self.pool, self.concat])()
            if np.prod(self.shape) > MAX_ELEMENTS:
                break
        if self.chance(0.6):
            self.head()
        return self

    def model(self):
        value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *self.shapes[name]])
        graph = helper.make_graph(self.nodes, "random", [value("x")], [value(self.at)], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    def images(self, count):
        return [self.rng.normal(0, 1, (1, *self.shapes["x"])).astype(np.float32) for _ in range(count)]


def network(seed):
    return Network(seed).build()
