#!/usr/bin/env python3
"""Times a training step beside PyTorch's: ResNet-26 at 64×64, width 1, batch 32, frozen batch norm, one thread.

  train.py measure --binary target/release/examples/train_peer --results FILE [--rounds 5] [--only parallel]
  train.py table --results FILE

Every engine is a process of its own that warms up with one step and then does a few. They run one after the
other in random order, round after round. Kept are all steps; the tables have their medians: processor
seconds, which a neighbour on the machine disturbs least, and seconds. The peak memory is that of the whole
process; what PyTorch takes before it has a network (its libraries) stands beside it.
"""
import argparse
import datetime
import json
import os
import platform
import random
import statistics
import subprocess
import sys
from pathlib import Path

BATCH = 32
SCHEMES = ("parallel", "adaptive-attention")
GRADS = ("f32", "int16", "int8")
LAYOUTS = ("contiguous", "channels_last")
# Ours: one line of JSON per step, {"seconds": …, "cpu_seconds": …}, the first one warming up. Adapters sit at
# all sites, as in PyTorch; the gate is 2sigmoid on both sides.
OURS = ["{binary}", "--scheme", "{scheme}", "--grad", "{grad}", "--batch", "{batch}", "--steps", "{steps}"]
OUR_SCHEMES = {"parallel": "parallel", "adaptive-attention": "adaptive-attention:gate=2sigmoid"}


def engines(args):
    """(scheme, name) and the command, of all that is asked for."""
    worker = str(Path(__file__).resolve().parent / "train_worker.py")
    found = {}
    for scheme in SCHEMES:
        for layout in LAYOUTS:
            found[scheme, f"PyTorch {layout}"] = [args.python, worker, scheme, layout, str(BATCH), str(args.steps)]
        for grad in GRADS if args.binary else ():
            values = {"binary": args.binary.resolve(), "scheme": OUR_SCHEMES[scheme], "grad": grad, "batch": BATCH,
                      "steps": args.steps + 1}
            found[scheme, f"ours {grad}"] = [part.format(**values) for part in OURS]
    return {key: command for key, command in found.items() if all(any(o in part for part in key) for o in args.only)}


def run_once(command):
    """Its lines and the peak residence in KiB of the process."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **one})
    lines = [json.loads(line) for line in process.stdout if line.startswith("{")]
    # Linux counts what this small process had when it forked as a floor; it is below any engine's.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not lines:
        raise RuntimeError(f"ended with status {process.returncode} after {len(lines)} lines")
    return lines, usage.ru_maxrss


def measure(args):
    commands = engines(args)
    with open(args.results, "a") as results:
        for round_number in range(args.rounds):
            for key in random.sample(list(commands), len(commands)):
                try:
                    lines, peak_kb = run_once(commands[key])
                except (RuntimeError, OSError, ValueError) as why:
                    print(f"  {' '.join(key)}: {why}", flush=True)
                    continue
                steps = [line for line in lines if "seconds" in line][1:]
                about = next((line for line in lines if "version" in line), {})
                row = {"scheme": key[0], "engine": key[1], "round": round_number, "peak_kb": peak_kb,
                       "version": about.get("version", ""), "base_kb": about.get("base_kb"),
                       "seconds": [s["seconds"] for s in steps],
                       "cpu_seconds": [s.get("cpu_seconds", s["seconds"]) for s in steps],
                       "when": datetime.datetime.now().isoformat(timespec="seconds"), "machine": machine(),
                       "load": os.getloadavg()[0]}
                results.write(json.dumps(row) + "\n")
                results.flush()
                print(f"round {round_number + 1}/{args.rounds}, {' '.join(key)}: "
                      f"{1e3 * statistics.median(row['cpu_seconds']):.0f} ms", flush=True)
    table(args)


def machine():
    names = []
    if Path("/proc/cpuinfo").exists():
        names = [l.split(":", 1)[1].strip() for l in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in l]
    return f"{os.cpu_count()} x {names[0] if names else 'unknown CPU'}, {platform.system()}"


def median_of(rows, field):
    return statistics.median(value for row in rows for value in row[field])


def table(args):
    rows = [json.loads(line) for line in args.results.read_text().splitlines()]
    if not rows:
        raise SystemExit(f"{args.results} has no rows")
    versions = sorted({row["version"] for row in rows if row["version"]})
    loads = [row["load"] for row in rows]
    print(f"\n{rows[-1]['machine']}, {rows[-1]['when'][:10]}; PyTorch {', '.join(versions) or 'not run'}; load average "
          f"{min(loads):.1f} to {max(loads):.1f}.\n")
    head = ["scheme", "engine", "rounds", "CPU ms per step", "least and most", "ms per step", "PyTorch / this, CPU",
            "peak MB", "before the network, MB", "PyTorch / this, memory"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for scheme in SCHEMES:
        found = {}
        for row in rows:
            if row["scheme"] == scheme:
                found.setdefault(row["engine"], []).append(row)
        peers = [e for e in found if e.startswith("PyTorch")]
        # The faster, and the smaller, of PyTorch's layouts is what is compared with.
        best_cpu = min((median_of(found[e], "cpu_seconds") for e in peers), default=None)
        best_kb = min((max(r["peak_kb"] for r in found[e]) for e in peers), default=None)
        for engine, of_engine in sorted(found.items()):
            print("| " + " | ".join(cells(scheme, engine, of_engine, best_cpu, best_kb)) + " |")


def cells(scheme, engine, rows, best_cpu, best_kb):
    cpu, wall = median_of(rows, "cpu_seconds"), median_of(rows, "seconds")
    steps = [value for row in rows for value in row["cpu_seconds"]]
    peak = max(row["peak_kb"] for row in rows)
    base = next((row["base_kb"] for row in rows if row["base_kb"]), None)
    return [scheme, engine, str(len(rows)), f"{1e3 * cpu:.0f}", f"{1e3 * min(steps):.0f} to {1e3 * max(steps):.0f}",
            f"{1e3 * wall:.0f}", f"{best_cpu / cpu:.2f}x" if best_cpu else "-", f"{peak / 1024:.0f}",
            f"{base / 1024:.0f}" if base else "-", f"{best_kb / peak:.2f}x" if best_kb else "-"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("measure", "table"))
    parser.add_argument("--binary", type=Path, help="the train_peer example; without it PyTorch alone is measured")
    parser.add_argument("--python", default=sys.executable, help="one that has torch")
    parser.add_argument("--results", type=Path, required=True, help="JSON lines are appended here")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="of an engine in a round, after the one that warms up")
    parser.add_argument("--only", nargs="*", default=[], help="parts of a scheme's or an engine's name, all to be there")
    args = parser.parse_args()
    {"measure": measure, "table": table}[args.action](args)


if __name__ == "__main__":
    main()
