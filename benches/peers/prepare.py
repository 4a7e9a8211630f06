#!/usr/bin/env python3
"""Writes every peer's file of every measured network into a folder, once: `prepare.py FOLDER [MODELS]`.

MODELS is the folder of the shared real models; without it their rows are left out.
"""
import json
import logging
import sys
import warnings
from pathlib import Path

import networks

# Name, and the file below MODELS.
REAL = {"resnet8": "mlperf_tiny/pretrainedResnet_quant.tflite",
        "mobilenetv1-0.25": "coral/mobilenet_v1_0.25_128_quant.tflite",
        "mobilenetv2-1.0": "coral/tf2_mobilenet_v2_1.0_224_ptq.tflite"}
BUILT = [networks.resnet26, networks.resnet34, networks.mobilenetv3_large]
BATCHES = (1, 16)


def prepare(net, folder, tflite):
    """Writes the files of one network; `tflite` is the real model, if it is one."""
    done = folder / f"{net.name}.json"
    if done.exists():
        return
    import onnx_files
    import tflite_builder
    import tflite_files
    print(f"preparing {net.name}: {net.macs / 1e6:.1f} million multiply-accumulates per image", flush=True)
    onnx_files.write(net, folder)
    ranges = None if tflite else onnx_files.ranges(net, folder / f"{net.name}.onnx")
    for batch in BATCHES:
        made = tflite_builder.with_batch(tflite, batch) if tflite else tflite_files.Writer(net, ranges, batch).bytes()
        (folder / f"{net.name}.b{batch}.tflite").write_bytes(made)
    done.write_text(json.dumps({"network": net.name, "side": net.side, "macs": net.macs, "real": bool(tflite)}))


def main():
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for build in BUILT:
        prepare(build(), folder, None)
    for name, file in REAL.items():
        path = Path(sys.argv[2]) / file if len(sys.argv) > 2 else None
        if path and path.exists():
            prepare(networks.from_tflite(path, name), folder, path.read_bytes())
        else:
            print(f"SKIPPED: {name} ({path or 'no folder of shared models'} is absent)")


if __name__ == "__main__":
    main()
