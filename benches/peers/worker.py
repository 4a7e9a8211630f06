#!/usr/bin/env python3
"""One Python engine as a process of `bench.py`: `worker.py ENGINE FILE BATCH THREADS`.

One line of JSON when it is ready; then, for every line on standard input (a number of seconds), how many
batches were done in how many seconds.
"""
import ctypes
import json
import sys
import time

import numpy as np


def resident_kb():
    """This process's memory, where the system says it."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4
    except OSError:
        return None


def give_back():
    """Hands memory that loading has freed to the system, so that what is measured is inference."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        pass


def values(shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def onnxruntime(file, batch, threads):
    import onnxruntime as ort
    before = resident_kb()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    feed = {entry.name: values([batch, *entry.shape[1:]])}
    return lambda: session.run(None, feed), ort.__version__, before


def openvino(file, batch, threads):
    import openvino as ov
    before = resident_kb()
    core = ov.Core()
    model = core.read_model(file)
    shape = [batch, *[d.get_length() for d in list(model.inputs[0].partial_shape)[1:]]]
    model.reshape(shape)
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(ov.Tensor(values(shape)))
    return request.infer, ov.__version__.split("-")[0], before


def litert(file, batch, threads):
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter
    from importlib.metadata import version
    before = resident_kb()
    interpreter = Interpreter(model_path=file, num_threads=threads)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    info = np.iinfo(entry["dtype"])
    codes = np.random.default_rng(0).integers(info.min, info.max + 1, entry["shape"]).astype(entry["dtype"])
    interpreter.set_tensor(entry["index"], codes)
    return interpreter.invoke, version(ai_edge_litert.__name__.replace("_", "-")), before


def main():
    engine, file, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    once, version, before = {"onnxruntime": onnxruntime, "openvino": openvino, "litert": litert}[engine](
        file, batch, threads)
    once()
    give_back()
    print(json.dumps({"version": version, "base_kb": before}), flush=True)
    for line in sys.stdin:
        seconds, start, batches = float(line), time.perf_counter(), 0
        while batches == 0 or time.perf_counter() - start < seconds:
            once()
            batches += 1
        print(batches, time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
