"""A frozen float network out of an ONNX file, in PyTorch, with our adapters in it.

The graph is interpreted node by node with plain functions. Its weights are buffers; what trains are the
adapters, the head and, with `batch_norm="batch"`, the batch norms. Names of trained arrays are those of our
adapter files (`parallel.conv2d_03.alpha.weight`), and fresh ones start at the values that our side draws.
"""
import math

import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn

import torch_seed

SCHEMES = {"head-only": {}, "parallel": {"init": ("he", "zero")},
           "adaptive-attention": {"m": None, "gate": ("sigmoid", "2sigmoid"), "init": ("he", "zero"),
                                  "return": ("mask", "map")}}
BATCH_NORM = ("frozen", "batch")
SITES = ("all", "all-but-stem")


def parse_scheme(text):
    """The name and the options of `NAME[:key=value,…]`, written as for `trunkline train`."""
    name, _, rest = text.partition(":")
    if name not in SCHEMES:
        raise SystemExit(f"no scheme '{name}' here; there are {', '.join(SCHEMES)}")
    options = dict(pair.partition("=")[::2] for pair in rest.split(",") if pair)
    for key, value in options.items():
        allowed = SCHEMES[name].get(key, ())
        if allowed is not None and value not in allowed:
            raise SystemExit(f"scheme '{text}': {key}={value} is not done here")
    return name, options


def draw(seed, name, dims, sigma):
    """N(0, sigma²), the values that our side draws: convolutions out × height × width × in."""
    values = torch_seed.normal(seed, name, math.prod(dims), sigma)
    if len(dims) == 2:
        return torch.from_numpy(values.reshape(dims))
    out_c, in_c, height, width = dims
    return torch.from_numpy(values.reshape(out_c, height, width, in_c)).permute(0, 3, 1, 2).contiguous()


class Trunk(nn.Module):
    def __init__(self, path, scheme="head-only", sites="all-but-stem", batch_norm="frozen", classes=10, head="fresh",
                 seed=0):
        super().__init__()
        graph = onnx.load(path).graph
        self.constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.nodes = list(graph.node)
        self.input = graph.input[0].name
        self.batch_norm, self.seed = batch_norm, seed
        self.attributes = [{a.name: onnx.helper.get_attribute_value(a) for a in n.attribute} for n in self.nodes]
        self.arrays = nn.ParameterDict()
        self.at_head = max((i for i, n in enumerate(self.nodes) if n.op_type == "Gemm"), default=None)
        if self.at_head is None:
            raise SystemExit(f"{path}: has no Gemm node for a head")
        for index in range(len(self.nodes)):
            self.prepare(index)
        self.new_head(classes, head)
        self.alpha, self.attended = {}, {}
        # So that a test holds no more maps than it needs.
        self.last_reader = {name: index for index, node in enumerate(self.nodes) for name in node.input}
        self.adapt(*parse_scheme(scheme), sites)

    # Building

    def prepare(self, index):
        """Makes tensors of what a node reads, under the node's number."""
        node = self.nodes[index]
        if node.op_type not in OPERATIONS:
            raise SystemExit(f"node {index} ({node.op_type}): not among {', '.join(OPERATIONS)}")
        if node.op_type not in ("Conv", "BatchNormalization", "Gemm"):
            return
        for role, name in enumerate(node.input[1:], 1):
            self.register_buffer(f"n{index}_{role}", torch.from_numpy(self.constants[name].copy()))
        if node.op_type == "BatchNormalization" and self.batch_norm == "batch":
            for role, part in ((1, "gamma"), (2, "beta")):
                self.train_array(f"batch_norm_{index:02}.{part}", self.constant(index, role))

    def constant(self, index, role):
        return getattr(self, f"n{index}_{role}", None)

    def train_array(self, name, value):
        # Parameter names hold no dots.
        self.arrays[name.replace(".", "/")] = nn.Parameter(value.clone())

    def array(self, name):
        return self.arrays[name.replace(".", "/")]

    def new_head(self, classes, head):
        """`keep` is what our binary does with a head that has the right number of classes."""
        weight, bias = self.constant(self.at_head, 1), self.constant(self.at_head, 2)
        if not self.attributes[self.at_head].get("transB"):
            weight = weight.T
        self.head_name = f"linear_{self.at_head:02}"
        if head == "fresh" or len(weight) != classes:
            inputs = weight.shape[1]
            weight = draw(self.seed, f"{self.head_name}.weight", (classes, inputs), 1 / math.sqrt(inputs))
            bias = torch.zeros(classes)
        self.train_array(f"{self.head_name}.weight", weight)
        self.train_array(f"{self.head_name}.bias", bias)

    def adapt(self, scheme, options, sites):
        he = options.get("init", "he") == "he"
        if scheme == "parallel":
            for index in self.convs()[sites == "all-but-stem":]:
                out_c, in_c = self.constant(index, 1).shape[:2]
                name = f"parallel.conv2d_{index:02}.alpha.weight"
                self.train_array(name, draw(self.seed, name, (out_c, in_c, 1, 1), math.sqrt(2 / out_c) * he))
                self.alpha[index] = name
        if scheme == "adaptive-attention":
            self.gain = 2.0 if options.get("gate") == "2sigmoid" else 1.0
            for number, (edge, channels) in enumerate(self.stage_entries(), 1):
                asked = options.get("m", "2")
                m = max(channels // int(asked[2:]), 1) if asked.startswith("c/") else int(asked)
                site = f"attention.before-stage{number}"
                # As on our side, only K decides whether the gate starts at its neutral value.
                for part, dims, sigma in (("alpha", (m, channels, 1, 1), math.sqrt(2 / channels)),
                                          ("k", (1, m, 7, 7), 0.01 * he)):
                    name = f"{site}.{part}.weight"
                    self.train_array(name, draw(self.seed, name, dims, sigma))
                self.attended[edge] = site

    def convs(self):
        """Numbers of the convolutions. All are on the main path: these ResNets' shortcuts have none."""
        return [i for i, n in enumerate(self.nodes) if n.op_type == "Conv"]

    def stage_entries(self):
        """(map, channels) before each stage: what follows the stem, and what a strided convolution reads."""
        stem, *body = self.convs()
        edge = self.nodes[stem].output[0]
        for node in self.nodes[stem + 1:]:
            if list(node.input[:1]) != [edge] or node.op_type not in ("BatchNormalization", "Relu"):
                break
            edge = node.output[0]
        entries = {edge: self.constant(stem, 1).shape[0]}
        for index in body:
            if max(self.attributes[index].get("strides", [1])) > 1:
                entries[self.nodes[index].input[0]] = self.constant(index, 1).shape[1]
        return list(entries.items())

    # Running

    def features(self, x):
        """What the head reads."""
        values = {self.input: self.attend(self.input, x)}
        for index, node in enumerate(self.nodes[:self.at_head]):
            y = OPERATIONS[node.op_type](self, index, [values.get(name) for name in node.input])
            values[node.output[0]] = self.attend(node.output[0], y)
            for name in node.input:
                if self.last_reader[name] == index:
                    values.pop(name, None)
        return values[self.nodes[self.at_head].input[0]]

    def head(self, features):
        return F.linear(features, self.array(f"{self.head_name}.weight"), self.array(f"{self.head_name}.bias"))

    def forward(self, x):
        return self.head(self.features(x))

    def attend(self, edge, x):
        site = self.attended.get(edge)
        if site is None:
            return x
        squeezed = F.relu(F.conv2d(x, self.array(f"{site}.alpha.weight")))
        return x * (self.gain * torch.sigmoid(F.conv2d(squeezed, self.array(f"{site}.k.weight"), padding=3)))

    def conv(self, index, inputs):
        attributes = self.attributes[index]
        pads = attributes.get("pads", [0] * 4)
        if pads[:2] != pads[2:]:
            raise SystemExit(f"node {index} (Conv): pads {pads} differ between the sides")
        stride = attributes.get("strides", [1, 1])
        y = F.conv2d(inputs[0], self.constant(index, 1), self.constant(index, 2), stride, pads[:2],
                     attributes.get("dilations", 1), attributes.get("group", 1))
        if index in self.alpha:
            y = y + F.conv2d(inputs[0], self.array(self.alpha[index]), stride=stride)
        return y

    def norm(self, index, inputs):
        gamma, beta, mean, variance = (self.constant(index, role) for role in (1, 2, 3, 4))
        batch = self.batch_norm == "batch"
        if batch:
            gamma, beta = (self.array(f"batch_norm_{index:02}.{part}") for part in ("gamma", "beta"))
        epsilon = self.attributes[index].get("epsilon", 1e-5)
        return F.batch_norm(inputs[0], mean, variance, gamma, beta, batch and self.training, 0.1, epsilon)

    def slice(self, index, inputs):
        starts, ends, axes, steps = (self.constants[name] for name in self.nodes[index].input[1:5])
        cut = [slice(None)] * inputs[0].dim()
        for start, end, axis, step in zip(starts, ends, axes, steps):
            cut[axis] = slice(int(start), int(end), int(step))
        return inputs[0][tuple(cut)]

    def pad(self, index, inputs):
        before_after = self.constants[self.nodes[index].input[1]].reshape(2, -1).T[::-1]
        return F.pad(inputs[0], [int(n) for n in before_after.reshape(-1)])

    # Values from our side

    def load(self, values):
        """Takes arrays by name, convolutions as out × height × width × in; names all that is missing."""
        missing = []
        for key, parameter in self.arrays.items():
            name = key.replace("/", ".")
            if name not in values:
                missing.append(name)
                continue
            value = values[name].to(torch.float32)
            if parameter.dim() == 4:
                value = value.permute(0, 3, 1, 2)
            parameter.data.copy_(value.reshape(parameter.shape))
        if missing:
            raise SystemExit(f"the adapter file has no {', '.join(missing)}; it has {', '.join(sorted(values))}")


OPERATIONS = {
    "Conv": Trunk.conv,
    "BatchNormalization": Trunk.norm,
    "Relu": lambda trunk, index, inputs: F.relu(inputs[0]),
    "Add": lambda trunk, index, inputs: inputs[0] + inputs[1],
    "Slice": Trunk.slice,
    "Pad": Trunk.pad,
    "GlobalAveragePool": lambda trunk, index, inputs: inputs[0].mean((2, 3), keepdim=True),
    "Flatten": lambda trunk, index, inputs: inputs[0].flatten(1),
    # The last one is the head and runs elsewhere.
    "Gemm": None,
}
