#!/usr/bin/env python3
"""Measures Trunkline beside its peers, interleaved, and prints the tables of benches/README.md.

  bench.py measure --models FOLDER --binaries FOLDER --rust-peers FILE --results FILE
  bench.py table RESULTS

For every case (network, batch, threads) each engine is a process of its own. They are told to run in
random order, round after round, for a slice of time each, while the others are stopped; the CPU's int8
peak is one of them. Kept are all slices and their median. A line of the results file is one engine in one
case.
"""
import argparse
import datetime
import json
import os
import platform
import random
import select
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Slices of an engine that needs longer than this for one batch are fewer.
SLOW_SECONDS = 0.6
SLOW_SLICES = 3
READY_SECONDS = 120
ZOO = {"resnet26": "resnet26:classes=10", "resnet34": "resnet34:classes=1000",
       "mobilenetv3-large": "mobilenetv3-large:classes=1000"}
PEAK = "vpdpbusd peak"
OURS = "trunkline"


@dataclass
class Case:
    network: str
    side: int
    macs: int
    real: bool
    batch: int
    threads: int

    def __str__(self):
        return f"{self.network}@{self.side}, batch {self.batch}, {self.threads} thread{'s' * (self.threads > 1)}"


def commands(case, args):
    """Every engine that has a file of this network, and how it is started."""
    here, stem = Path(__file__).resolve().parent, str(args.models / case.network)
    ours = [str(args.binaries / "engine_peer")]
    sizes = ["--batch", str(case.batch), "--threads", str(case.threads)]
    file = f"{stem}.b1.tflite"
    found = {PEAK: [*ours, "peak", *sizes], OURS: [*ours, file if case.real else ZOO[case.network], *sizes]}
    if case.network in ("resnet26", "resnet34"):
        found[f"{OURS}, the TFLite file"] = [*ours, file, *sizes]
    found[f"{OURS}, the QDQ file"] = [*ours, f"{stem}.qdq.onnx", *sizes]
    worker = lambda engine, file: [sys.executable, str(here / "worker.py"), engine, file, str(case.batch), str(case.threads)]
    found["ONNX Runtime QDQ"] = worker("onnxruntime", f"{stem}.qdq.onnx")
    found["ONNX Runtime QOperator"] = worker("onnxruntime", f"{stem}.qop.onnx")
    found["LiteRT XNNPACK"] = worker("litert", f"{stem}.b{case.batch}.tflite")
    found["OpenVINO NNCF"] = worker("openvino", f"{stem}.nncf.xml")
    if args.rust_peers:
        rust = lambda engine, file: [str(args.rust_peers), engine, file, str(case.batch), str(case.side), str(case.threads)]
        found["tract QLinearConv"] = rust("tract", f"{stem}.qconv.onnx")
        found["rten ConvInteger"] = rust("rten", f"{stem}.dynamic.onnx")
    return {name: command for name, command in found.items() if not args.only or any(o in name for o in args.only)}


def memory_kb(pid, field):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return None


class Engine:
    """A process that runs when it is told to."""

    def __init__(self, name, command, threads, log):
        self.name, self.slices, self.dead = name, [], ""
        environment = {**os.environ, "RTEN_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                                        env=environment)

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"ended with status {self.process.wait()}")
        return line

    def await_ready(self):
        if not select.select([self.process.stdout], [], [], READY_SECONDS)[0]:
            raise RuntimeError(f"was not ready after {READY_SECONDS} s")
        self.about = json.loads(self.answer())
        # From here on the greatest residence is that of inference.
        self.loaded_kb = memory_kb(self.process.pid, "VmHWM")
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        self.process.send_signal(signal.SIGSTOP)

    def slice(self, seconds):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        batches, took = self.answer().split()
        self.slices.append(float(took) / int(batches))
        self.process.send_signal(signal.SIGSTOP)

    def wants_more(self, slices):
        slow = self.slices and min(self.slices) > SLOW_SECONDS
        return not self.dead and len(self.slices) < (min(SLOW_SLICES, slices) if slow else slices)

    def end(self):
        self.process.kill()
        self.process.wait()


def attempt(engine, step):
    try:
        step()
    except (RuntimeError, ValueError, OSError) as why:
        engine.dead = str(why)
        print(f"    {engine.name}: {why}", flush=True)


def measure_case(case, args, log):
    engines = []
    try:
        for name, command in commands(case, args).items():
            # One at a time, so that none loads while another warms up.
            engine = Engine(name, command, case.threads, log)
            engines.append(engine)
            attempt(engine, engine.await_ready)
        # A first slice of each that is not kept.
        for engine in engines:
            if not engine.dead:
                attempt(engine, lambda: engine.slice(args.seconds / 3))
                engine.slices = [s for s in engine.slices if s > SLOW_SECONDS]
        while waiting := [e for e in engines if e.wants_more(args.slices)]:
            random.shuffle(waiting)
            for engine in waiting:
                attempt(engine, lambda: engine.slice(args.seconds))
        return [row(case, engine) for engine in engines]
    finally:
        for engine in engines:
            engine.end()


def row(case, engine):
    result = {"network": case.network, "side": case.side, "batch": case.batch, "threads": case.threads,
              "engine": engine.name, "when": datetime.datetime.now().isoformat(timespec="seconds")}
    if engine.dead or not engine.slices:
        return {**result, "error": engine.dead or "no slice"}
    seconds = statistics.median(engine.slices)
    macs = engine.about["macs"] if engine.name == PEAK else case.macs * case.batch
    base = engine.about.get("base_kb")
    peak = memory_kb(engine.process.pid, "VmHWM")
    return {**result, "version": engine.about.get("version", ""), "seconds_per_batch": seconds,
            "images_per_second": None if engine.name == PEAK else case.batch / seconds, "gmacs_per_second": macs / seconds / 1e9,
            "slices_seconds": [round(s, 9) for s in engine.slices], "memory_inference_kb": peak,
            "memory_base_kb": base, "memory_loading_kb": engine.loaded_kb}


def measure(args):
    cases = []
    for path in sorted(args.models.glob("*.json")):
        about = json.loads(path.read_text())
        if not args.networks or about["network"] in args.networks:
            cases += [Case(about["network"], about["side"], about["macs"], about["real"], batch, threads)
                      for batch in args.batches for threads in args.threads]
    start = time.monotonic()
    with open(args.results, "a") as results, open(args.results.with_suffix(".log"), "a") as log:
        for i, case in enumerate(cases):
            print(f"[{time.monotonic() - start:4.0f} s, {i + 1}/{len(cases)}] {case}", flush=True)
            rows = measure_case(case, args, log)
            for r in rows:
                results.write(json.dumps({**r, "machine": machine()}) + "\n")
            results.flush()


def machine():
    model = "unknown CPU"
    if Path("/proc/cpuinfo").exists():
        names = [l.split(":", 1)[1].strip() for l in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in l]
        model = names[0] if names else model
    return f"{os.cpu_count()} x {model}, {platform.system()}"


# Tables

def table(args):
    rows = {}
    engines = []
    for line in args.results.read_text().splitlines():
        r = json.loads(line)
        rows[(r["network"], r["side"], r["batch"], r["threads"], r["engine"])] = r
        if r["engine"] not in engines:
            engines.append(r["engine"])
    cases = sorted({key[:4] for key in rows}, key=lambda k: (k[0], k[3], k[2]))
    engines.remove(PEAK) if PEAK in engines else None
    ours = [e for e in engines if e.startswith(OURS)]
    peers = [e for e in engines if e not in ours]
    last = rows[next(reversed(rows))]
    versions = {e: r["version"] for (*_, e), r in rows.items() if r.get("version")}
    print(f"{last['machine']}, {last['when'][:10]}; " + ", ".join(f"{e} {v}" for e, v in sorted(versions.items())) + ".\n")
    value = lambda case, engine, field: rows.get((*case, engine), {}).get(field)
    print_speed(cases, ours, peers, value)
    print_shares(cases, ours + peers, value)
    print_memory(cases, ours + peers, value)


def lines(head, body):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for cells in body:
        print("| " + " | ".join(cells) + " |")
    print()


def label(case):
    return [f"{case[0]}@{case[1]}", str(case[2]), str(case[3])]


def number(x):
    return "-" if x is None else f"{x:,.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def print_speed(cases, ours, peers, value):
    print("Images per second, and ours over each peer (medians; the bold peer is the fastest):\n")
    body = []
    for case in cases:
        speeds = {e: value(case, e, "images_per_second") for e in ours + peers}
        best = max((s for e, s in speeds.items() if e in peers and s), default=None)
        own = speeds.get(OURS)
        cells = [number(speeds[e]) for e in ours]
        for e in peers:
            s = speeds[e]
            text = "-" if s is None else f"{number(s)} ({own / s:.2f}x)" if own else number(s)
            cells.append(f"**{text}**" if s is not None and s == best else text)
        cells.append(f"{own / best:.2f}x" if own and best else "-")
        body.append(label(case) + cells)
    lines(["network", "batch", "threads", *ours, *peers, "ours / best peer"], body)


def print_shares(cases, engines, value):
    print("GMAC/s, and the share of the `vpdpbusd` peak of the same case:\n")
    body = []
    for case in cases:
        peak = value(case, PEAK, "gmacs_per_second")
        cells = []
        for e in engines:
            g = value(case, e, "gmacs_per_second")
            cells.append("-" if g is None else f"{number(g)} ({100 * g / peak:.0f} %)" if peak else number(g))
        body.append(label(case) + [number(peak), *cells])
    lines(["network", "batch", "threads", "peak", *engines], body)


def print_memory(cases, engines, value):
    print("Peak memory of inference in MB: above the process before it loaded the model (whole process in brackets):\n")
    body = []
    for case in cases:
        cells = []
        for e in engines:
            peak, base = value(case, e, "memory_inference_kb"), value(case, e, "memory_base_kb")
            above = "?" if base is None or peak is None else number((peak - base) / 1024)
            cells.append("-" if peak is None else f"{above} ({number(peak / 1024)})")
        body.append(label(case) + cells)
    lines(["network", "batch", "threads", *engines], body)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(required=True)
    m = actions.add_parser("measure")
    m.add_argument("--models", type=Path, required=True, help="what prepare.py wrote")
    m.add_argument("--binaries", type=Path, required=True, help="the folder of the engine_peer example")
    m.add_argument("--rust-peers", type=Path, help="the rust-peers binary; without it tract and rten are left out")
    m.add_argument("--results", type=Path, required=True, help="JSON lines are appended here")
    m.add_argument("--slices", type=int, default=7)
    m.add_argument("--seconds", type=float, default=0.15, help="of a slice")
    m.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    m.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    m.add_argument("--networks", nargs="*", help="these only")
    m.add_argument("--only", nargs="*", help="engines whose name holds one of these")
    m.set_defaults(action=measure)
    t = actions.add_parser("table")
    t.add_argument("results", type=Path)
    t.set_defaults(action=table)
    args = parser.parse_args()
    args.action(args)


if __name__ == "__main__":
    main()
