"""Records what LiteRT computes on the quantised models of ../shared: by default (XNNPACK delegate), and
with its own optimised kernels.

    python tests/conformance/litert_xnnpack_golden.py ../shared/models > tests/conformance/litert_xnnpack_golden.json

Every intermediate map is made an output of the model, so that the delegate has to write it. The file
holds no codes, only the first 8 bytes of their SHA-256 per map and input; tests/profiles.rs
computes the same. Needs ai-edge-litert and numpy.
"""

import hashlib
import json
import sys
from pathlib import Path

import ai_edge_litert
import flatbuffers
import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

MODELS = [
    "mlperf_tiny/pretrainedResnet_quant",
    "mlperf_tiny/vww_96_int8",
    "mlperf_tiny/kws_ref_model",
    "mlperf_tiny/ad01_int8",
    "coral/mobilenet_v1_0.25_128_quant",
    "coral/tf2_mobilenet_v2_1.0_224_ptq",
]
# Inputs whose every map is recorded; of the others, the output.
LAYERED = 2


def fingerprint(codes):
    return hashlib.sha256(np.ascontiguousarray(codes).tobytes()).hexdigest()[:16]


def made(model):
    """The 8-bit maps that operators make, in order."""
    graph = model.subgraphs[0]
    eight_bits = (schema.TensorType.INT8, schema.TensorType.UINT8)
    return [t for op in graph.operators for t in op.outputs if graph.tensors[t].type in eight_bits]


RUNTIMES = {
    "tflite-xnnpack": litert.OpResolverType.AUTO,
    "tflite-x86": litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}


def invoke(content, values, kernels):
    """All outputs, in the order of the model's."""
    runtime = litert.Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    runtime.allocate_tensors()
    runtime.set_tensor(runtime.get_input_details()[0]["index"], values)
    runtime.invoke()
    return [runtime.get_tensor(d["index"]) for d in runtime.get_output_details()]


def record(path, kernels):
    content = path.with_name(path.name + ".tflite").read_bytes()
    inputs = np.load(path.with_name(path.name + ".golden.npz"))["inputs"]
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    final = model.subgraphs[0].outputs[0]
    tensors = made(model)
    model.subgraphs[0].outputs = tensors
    model.signatureDefs = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    open_model = bytes(builder.Output())
    shape = [1] + list(inputs.shape[1:])
    layers = []
    for i in range(min(LAYERED, len(inputs))):
        maps = dict(zip(tensors, invoke(open_model, inputs[i].reshape(shape), kernels), strict=True))
        plain = invoke(content, inputs[i].reshape(shape), kernels)[0]
        assert (maps[final] == plain).all(), f"{path}: looking at the maps of input {i} changes its output"
        layers.append({str(t): fingerprint(maps[t]) for t in tensors})
    outputs = [fingerprint(invoke(content, x.reshape(shape), kernels)[0]) for x in inputs]
    return {"model": str(path.relative_to(ROOT)), "layers": layers, "outputs": outputs}


ROOT = Path(sys.argv[1])
groups = []
for profile, kernels in RUNTIMES.items():
    # The optimised MEAN has two forms of its own, which tflite-x86 does not have.
    names = [name for name in MODELS if profile != "tflite-x86" or "mobilenet_v2" not in name]
    lines = ",\n".join(json.dumps(record(ROOT / name, kernels)) for name in names)
    groups.append(f'"{profile}": [\n{lines}\n]')
version = getattr(ai_edge_litert, "__version__", "2.3.0")
print(f'{{"litert": "{version}",\n' + ",\n".join(groups) + "\n}")
