#!/usr/bin/env python3
"""Makes tests/conformance/onnx_golden.json: what ONNX Runtime computes for the shared float models.

Usage: onnx_golden.py SHARED_MODELS_FOLDER > onnx_golden.json     (needs onnxruntime, numpy)

The input is made from a seed by splitmix64 in N×C×H×W order, so that a test makes the same one:
value i is (top 24 bits of mix(seed + i)) / 2^24 * (high - low) + low, in float32.
"""
import json
import sys

import numpy as np
import onnxruntime

MODELS = [
    ("cifar10_resnets/resnet20_cifar10.onnx", (3, 32, 32), 20, (-2.0, 2.0)),
    ("cifar10_resnets/resnet56_cifar10.onnx", (3, 32, 32), 56, (-2.0, 2.0)),
    ("tiny_darknet/tiny_darknet_imagenet.onnx", (3, 224, 224), 7, (0.0, 1.0)),
    ("stm_mobilenetv1/mobilenet_v1_0.25_224.onnx", (3, 224, 224), 1, (-1.0, 1.0)),
]


def splitmix64(x):
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def image(shape, seed, bounds):
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        top = splitmix64(np.arange(n, dtype=np.uint64) + np.uint64(seed)) >> np.uint64(40)
    unit = top.astype(np.float32) / np.float32(1 << 24)
    low, high = np.float32(bounds[0]), np.float32(bounds[1])
    return (unit * (high - low) + low).reshape((1, *shape))


def main():
    cases = []
    for path, shape, seed, bounds in MODELS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(f"{sys.argv[1]}/{path}", options, providers=["CPUExecutionProvider"])
        (out,) = session.run(None, {session.get_inputs()[0].name: image(shape, seed, bounds)})
        values = [float(f"{v:.7g}") for v in out.reshape(-1)]
        cases.append({"model": path, "seed": seed, "low": bounds[0], "high": bounds[1], "output": values})
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    print(f'{{"onnxruntime":"{onnxruntime.__version__}","cases":[\n{lines}\n]}}')


main()
