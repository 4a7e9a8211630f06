"""Records ONNX Runtime's integer operators on small random inputs, for tests/profiles.rs.

    python tests/conformance/onnxruntime_ops_golden.py > tests/conformance/onnxruntime_ops_golden.json

Needs onnx, onnxruntime and numpy. Codes are written as presented (uint8 as 0..255).
"""

import json

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

RANDOM = np.random.default_rng(20261121)
TYPES = {"i8": (np.int8, TensorProto.INT8), "u8": (np.uint8, TensorProto.UINT8)}


def codes(kind, shape):
    low, high = (-128, 128) if kind == "i8" else (0, 256)
    return RANDOM.integers(low, high, shape).astype(TYPES[kind][0])


def coding(kind, low=0.004, high=0.12):
    scale = float(np.float32(RANDOM.uniform(low, high)))
    return {"scale": scale, "zero_point": int(codes(kind, ())), "codes": kind}


def run(operator, kind, inputs, operands, attributes, domain="com.microsoft"):
    """`operands` names inputs and constants in order; constants are (name, array)."""
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in operands if array is not None]
    node = helper.make_node(operator, [name for name, _ in operands], ["y"], domain=domain, **attributes)
    declared = [helper.make_tensor_value_info(n, TYPES[kind][1], list(a.shape)) for n, a in inputs.items()]
    result = helper.make_tensor_value_info("y", TYPES[kind][1], None)
    graph = helper.make_graph([node], "one", declared, [result], constants)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def parameters(name, q):
    kind = TYPES[q["codes"]][0]
    return [(f"{name}_s", np.float32(q["scale"])), (f"{name}_z", kind(q["zero_point"]))]


def elementwise(operator, kind):
    a, b, y = coding(kind), coding(kind), coding(kind, 0.02, 0.2)
    if operator == "QLinearMul":
        y["scale"] = float(np.float32(a["scale"] * b["scale"] * RANDOM.uniform(20, 120)))
    xa, xb = codes(kind, (1, 200)), codes(kind, (1, 200))
    operands = [("a", None), *parameters("a", a), ("b", None), *parameters("b", b), *parameters("y", y)]
    out = run(operator, kind, {"a": xa, "b": xb}, operands, {})
    return {"a": a, "b": b, "y": y, "inputs": [xa.ravel().tolist(), xb.ravel().tolist()], "out": out.ravel().tolist()}


def table(operator, kind, attributes):
    x, y = coding(kind), coding(kind, 0.004, 0.05)
    every = np.arange(256).reshape(1, 256) + (-128 if kind == "i8" else 0)
    operands = [("x", None), *parameters("x", x), *parameters("y", y)]
    out = run(operator, kind, {"x": every.astype(TYPES[kind][0])}, operands, attributes)
    return {"x": x, "y": y, "out": out.ravel().tolist(), **attributes}


def softmax(kind):
    x, y = coding(kind), {"scale": 1 / 256, "zero_point": -128 if kind == "i8" else 0, "codes": kind}
    values = codes(kind, (20, 12))
    operands = [("x", None), *parameters("x", x), *parameters("y", y)]
    out = run("QLinearSoftmax", kind, {"x": values}, operands, {"axis": -1, "opset": 13})
    return {"x": x, "y": y, "input": values.ravel().tolist(), "out": out.ravel().tolist(), "channels": 12}


def average(kind, total):
    """A map of 9 × 9 × 4, channels first for the runtime, channels last in the file."""
    x = coding(kind)
    y = coding(kind, x["scale"] * 0.4, x["scale"] * 1.1)
    values = codes(kind, (1, 4, 9, 9))
    operands = [("x", None), *parameters("x", x), *parameters("y", y)]
    if total:
        out = run("QLinearGlobalAveragePool", kind, {"x": values}, operands, {"channels_last": 0})
    else:
        attributes = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
        out = run("QLinearAveragePool", kind, {"x": values}, operands, attributes)
    last = lambda t: t.transpose(0, 2, 3, 1).ravel().tolist()
    return {"x": x, "y": y, "input": last(values), "out": last(out)}


def conv(kind, weights):
    """3 × 3, per-channel weight scales and zero points."""
    x, y = coding(kind, 0.01, 0.05), coding(kind, 0.02, 0.05)
    channels = 5
    w = codes(weights, (channels, 3, 3, 3))
    scales = RANDOM.uniform(0.0005, 0.002, channels).astype(np.float32)
    # The runtime refuses per-channel zero points that are not all the same for signed weights.
    zeros = np.full(channels, int(codes(weights, ())) if weights == "u8" else 0, TYPES[weights][0])
    bias = RANDOM.integers(-3000, 3000, channels).astype(np.int32)
    values = codes(kind, (1, 3, 7, 6))
    operands = [("x", None), *parameters("x", x), ("w", w), ("w_s", scales), ("w_z", zeros), *parameters("y", y)]
    operands.append(("b", bias))
    attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
    out = run("QLinearConv", kind, {"x": values}, operands, attributes, domain="")
    return {
        "x": x, "y": y, "input": values.transpose(0, 2, 3, 1).ravel().tolist(), "weight_codes": weights,
        "weights": w.transpose(0, 2, 3, 1).ravel().tolist(), "weight_scales": [float(s) for s in scales],
        "weight_zero_points": zeros.tolist(), "bias": bias.tolist(), "out": out.transpose(0, 2, 3, 1).ravel().tolist(),
    }


def main():
    both = ("i8", "u8")
    cases = {
        "add": [elementwise("QLinearAdd", k) for k in both for _ in range(3)],
        "mul": [elementwise("QLinearMul", k) for k in both for _ in range(3)],
        "leaky": [table("QLinearLeakyRelu", k, {"alpha": 0.1}) for k in both for _ in range(2)],
        "sigmoid": [table("QLinearSigmoid", k, {}) for k in both for _ in range(2)],
        "softmax": [softmax(k) for k in both],
        "average": [average(k, False) for k in both],
        "global_average": [average(k, True) for k in both],
        "conv": [conv("u8", "u8"), conv("u8", "i8"), conv("i8", "i8")],
    }
    cases["versions"] = {"onnxruntime": onnxruntime.__version__}
    lines = [f'"{name}": [\n' + ",\n".join(json.dumps(c) for c in c_list) + "\n]" if isinstance(c_list, list)
             else f'"{name}": {json.dumps(c_list)}' for name, c_list in cases.items()]
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
