#!/usr/bin/env python3
"""Compares training through our int8 trunk with the same training through the f32 trunk in PyTorch.

  train_compare.py run --work FOLDER --binary target/release/trunkline --shared ../shared [--only signs parallel …]
  train_compare.py table --work FOLDER

A cell is a trunk, a task, a scheme and a batch-norm mode; it is trained on both sides once per seed, from the
same values (`torch_seed.py`), on the same images in the same order under the same schedule. The verdict is on
the mean paired difference of the last test accuracy, ours minus PyTorch's: at most max(1 point, 2 standard
errors). Rows whose batch norm is not frozen on both sides are reported without a verdict: int8 registers are
another thing than batch statistics. MNIST also compares our formats of the errors with our f32: 0.5 points for
int16, 1 for int8.

Results lie in FOLDER/results, one file per side and cell, seed and settings: what is there is not trained again.
`--only` takes parts of cell names; all given must occur. Needs what requirements-train.txt names.
"""
import argparse
import hashlib
import json
import math
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

TRUNKS = {name: f"models/cifar10_resnets/{name}_cifar10.onnx" for name in ("resnet20", "resnet56")}
# The second trunk is compared on one task.
TASKS = {"resnet20": ("omniglot", "mnist", "signs"), "resnet56": ("signs",)}
EPOCHS = {"omniglot": 12, "mnist": 2, "signs": 12}
# With frozen batch norm an adapter has to start as the identity (SPEC 1.1, 1.2).
FROZEN = ("head-only", "parallel:init=zero", "adaptive-attention:gate=2sigmoid")
# The same adapters where batch norm trains.
NORMED = FROZEN[1:]
# Our batch-norm modes, and what PyTorch does meanwhile.
BATCH_NORM = {"frozen": "frozen", "registers": "batch", "registers+stats": "batch", "adapter-device": "batch"}
SITES = {"parallel": "all-but-stem"}
# Formats of the errors: how far each may be from f32, in points.
GRADS = {"int16": 0.5, "int8": 1.0}
GRAD_FLAGS = {"f32": ["--grad", "f32"], "int16": ["--grad", "int16"],
              "int8": ["--grad", "int8", "--grad-rounding", "stochastic"]}
# What our side does with a head that has the task's number of classes already (scheme::with_classes).
HEAD = "fresh"
SEED_NETWORK = "resnet8:width=0.5"


@dataclass(frozen=True)
class Settings:
    batch: int = 32
    lr: float = 0.02
    schedule: str = "cosine"
    weight_decay: float = 0.0005
    epochs: int = 0
    train_limit: int = 0
    test_limit: int = 0


@dataclass(frozen=True)
class Cell:
    trunk: str
    task: str
    scheme: str
    batch_norm: str
    grad: str = "f32"

    def __str__(self):
        return f"{self.trunk} {self.task} {self.scheme} {self.batch_norm} {self.grad}"

    @property
    def sites(self):
        return SITES.get(self.scheme.split(":")[0])


def cells(only, batch_norms):
    """All cells, those of the verdict first."""
    found = []
    for trunk, tasks in TASKS.items():
        found += [Cell(trunk, task, scheme, "frozen") for task in tasks for scheme in FROZEN]
    found += [Cell("resnet20", "mnist", scheme, "frozen", grad) for scheme in FROZEN[1:] for grad in GRADS]
    for mode in batch_norms:
        found += [Cell("resnet20", task, scheme, mode) for task in TASKS["resnet20"] for scheme in NORMED]
    return [cell for cell in found if all(part in str(cell) for part in only)]


def settings_of(args, cell):
    return Settings(args.batch, args.lr, args.schedule, args.weight_decay, args.epochs or EPOCHS[cell.task],
                    args.train_limit or 0, args.test_limit or 0)


def ours(args, cell, settings, seed, folder):
    """The command of our side, which writes its run to `folder`."""
    train, test = data_for_ours(args, cell.task, settings)
    command = [str(args.binary), "train", "--trunk", f"{args.shared / TRUNKS[cell.trunk]}:normalise=imagenet",
               "--scheme", cell.scheme, "--data", train, "--val", test, "--epochs", str(settings.epochs),
               "--batch", str(settings.batch), "--optimizer", "sgd", "--lr", str(settings.lr),
               "--schedule", settings.schedule, "--weight-decay", str(settings.weight_decay),
               "--batch-norm", cell.batch_norm, *GRAD_FLAGS[cell.grad], "--seed", str(seed), "--device", "cpu",
               "--threads", str(args.threads), "--quiet", "--out", str(folder)]
    return command + (["--sites", cell.sites] if cell.sites else []) + args.ours


def theirs(args, cell, settings, seed):
    """The arguments of train_pytorch.py."""
    command = ["--trunk", str(args.shared / TRUNKS[cell.trunk]), "--shared", str(args.shared), "--task", cell.task,
               "--scheme", cell.scheme, "--batch-norm", BATCH_NORM[cell.batch_norm], "--head", HEAD,
               "--epochs", str(settings.epochs), "--batch", str(settings.batch), "--lr", str(settings.lr),
               "--schedule", settings.schedule, "--weight-decay", str(settings.weight_decay), "--seed", str(seed),
               "--threads", str(args.threads)]
    if cell.sites:
        command += ["--sites", cell.sites]
    limits = {"--train-limit": settings.train_limit, "--test-limit": settings.test_limit}
    return command + [part for flag, limit in limits.items() if limit for part in (flag, str(limit))]


def data_for_ours(args, task, settings):
    """Specs of our doors for the very images that PyTorch sees."""
    import torch_data
    limits = (settings.train_limit or None, settings.test_limit or None)
    noted = args.work / "data" / f"{task}-{limits[0]}-{limits[1]}.json"
    if not noted.exists():
        noted.parent.mkdir(parents=True, exist_ok=True)
        noted.write_text(json.dumps(torch_data.write_for_ours(args.shared, task, noted.parent, limits)))
    return json.loads(noted.read_text())


def result_path(args, side, cell, settings, seed):
    grad = cell.grad if side == "ours" else ""
    norm = cell.batch_norm if side == "ours" else BATCH_NORM[cell.batch_norm]
    parts = [cell.trunk, cell.task, cell.scheme, norm, grad, f"seed{seed}"]
    digest = hashlib.sha256(json.dumps([asdict(settings), HEAD, args.ours if side == "ours" else []]).encode())
    name = ".".join(part.replace(":", "-") for part in parts if part)
    return args.work / "results" / side / f"{name}.{digest.hexdigest()[:8]}.json"


def save(path, result):
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result))
    part.rename(path)


def last_accuracy(folder):
    """The last test accuracy in a run's metrics, as a fraction."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    tested = [row for row in rows if row.get("val/acc") is not None]
    if not tested:
        raise RuntimeError(f"{folder}/metrics.jsonl has no val/acc")
    return tested[-1]["val/acc"], [r["train/epoch_loss"] for r in rows if r.get("train/epoch_loss") is not None]


def run_ours(args, cell, settings, seed):
    path = result_path(args, "ours", cell, settings, seed)
    folder = args.work / "runs" / path.stem
    # A run that came to an end has its result; what lies here was stopped.
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    command, start = ours(args, cell, settings, seed, folder), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{done.stderr.strip()[-2000:]}\n  {' '.join(command)}")
    accuracy, losses = last_accuracy(folder)
    save(path, {"acc": accuracy, "train/loss": losses, "seconds": time.monotonic() - start, "command": command})


def run_theirs(args, cell, settings, seed):
    # Within this process: PyTorch takes long to load.
    import train_pytorch
    result = train_pytorch.train(theirs(args, cell, settings, seed))
    save(result_path(args, "pytorch", cell, settings, seed), result)


def sides(args, cell):
    """What to run for a cell: another format of the errors is compared with our own f32."""
    return {"ours": run_ours, "pytorch": run_theirs} if cell.grad == "f32" else {"ours": run_ours}


def check_seeds(args):
    """That `torch_seed.py` draws what the binary draws."""
    import numpy as np
    from safetensors.numpy import load_file

    import torch_seed
    path = args.work / "seeded.safetensors"
    path.unlink(missing_ok=True)
    command = [str(args.binary), "import", SEED_NETWORK, "--seed", "3", "--calibrate", "random", "--out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    compared = 0
    for key, drawn in load_file(path).items():
        if key.startswith("values/") and key.endswith(".weight"):
            out_c, *kernel, in_c = drawn.shape
            fan = out_c * math.prod(kernel) / 2 if kernel else in_c
            again = torch_seed.normal(3, key.removeprefix("values/"), drawn.size, math.sqrt(1 / fan))
            if not np.array_equal(again, drawn.reshape(-1)):
                raise SystemExit(f"{key}: torch_seed.py draws other values than {args.binary}")
            compared += drawn.size
    if not compared:
        raise SystemExit(f"{path} holds no seeded weights to compare")
    print(f"{compared} seeded weights equal", flush=True)


def run(args):
    args.work.mkdir(parents=True, exist_ok=True)
    if "ours" in args.sides:
        check_seeds(args)
    failed = 0
    for seed in range(args.seeds):
        for cell in cells(args.only, args.batch_norms):
            settings = settings_of(args, cell)
            for side, train in sides(args, cell).items():
                path = result_path(args, side, cell, settings, seed)
                if side not in args.sides or path.exists():
                    continue
                print(f"{time.strftime('%H:%M:%S')} seed {seed}, {cell}: {side} … ", end="", flush=True)
                try:
                    train(args, cell, settings, seed)
                except (RuntimeError, OSError, ValueError, KeyError) as why:
                    failed += 1
                    print(f"FAILED: {why}", flush=True)
                    continue
                result = json.loads(path.read_text())
                print(f"{100 * result['acc']:.2f} % in {result['seconds']:.0f} s", flush=True)
    return table(args) or failed > 0


# The verdict

def accuracies(args, side, cell):
    """Points by seed."""
    found = {}
    for seed in range(args.seeds):
        path = result_path(args, side, cell, settings_of(args, cell), seed)
        if path.exists():
            found[seed] = 100 * json.loads(path.read_text())["acc"]
    return found


def compared(cell, first, second, bound, errors, judged):
    """A row of the table, and whether it speaks against us; `bound` points or so many standard errors are allowed."""
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return [str(cell), "0", "-", "-", "-", "-", "not run"], False
    differences = [first[s] - second[s] for s in seeds]
    mean = statistics.mean(differences)
    error = statistics.stdev(differences) / math.sqrt(len(seeds)) if len(seeds) > 1 else math.nan
    allowed = max(bound, errors * error) if len(seeds) > 1 else bound
    within = abs(mean) <= allowed
    verdict = f"within {allowed:.2f}" if within else f"{'ahead' if mean > 0 else 'BEHIND'} by more than {allowed:.2f}"
    cells = [str(len(seeds)), f"{statistics.mean(first[s] for s in seeds):.2f}",
             f"{statistics.mean(second[s] for s in seeds):.2f}", f"{mean:+.2f}", f"{error:.2f}",
             verdict if judged else "reported"]
    return [str(cell), *cells], judged and not within and mean < 0


def table(args):
    """Prints the tables; whether a judged row is behind."""
    behind = False
    for title, rows in (("Ours (int8 trunk) and PyTorch (f32 trunk)", peers(args)),
                        ("Our formats of the errors and f32", formats(args))):
        print(f"\n{title}: mean test accuracy over the seeds, paired difference in points\n")
        head = ["cell", "seeds", "first", "second", "difference", "standard error", "verdict"]
        print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
        for row, is_behind in rows:
            print("| " + " | ".join(row) + " |")
            behind |= is_behind
    return behind


def peers(args):
    for cell in cells(args.only, args.batch_norms):
        if cell.grad == "f32":
            first, second = accuracies(args, "ours", cell), accuracies(args, "pytorch", cell)
            yield compared(cell, first, second, 1.0, 2, cell.batch_norm == "frozen")


def formats(args):
    for cell in cells(args.only, args.batch_norms):
        if cell.grad != "f32":
            f32 = Cell(cell.trunk, cell.task, cell.scheme, cell.batch_norm)
            first, second = accuracies(args, "ours", cell), accuracies(args, "ours", f32)
            yield compared(cell, first, second, GRADS[cell.grad], 0, True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "table"))
    parser.add_argument("--work", type=Path, required=True, help="where data, runs and results lie")
    parser.add_argument("--binary", type=Path, default=Path("target/release/trunkline"))
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--only", nargs="*", default=[], help="parts of cell names")
    parser.add_argument("--sides", nargs="+", choices=("ours", "pytorch"), default=["ours", "pytorch"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch-norms", nargs="*", choices=[m for m in BATCH_NORM if m != "frozen"],
                        default=["registers"], help="our modes beside frozen")
    parser.add_argument("--epochs", type=int, help=f"instead of {EPOCHS}")
    parser.add_argument("--batch", type=int, default=Settings.batch)
    parser.add_argument("--lr", type=float, default=Settings.lr)
    parser.add_argument("--schedule", default=Settings.schedule, choices=("constant", "step", "cosine"))
    parser.add_argument("--weight-decay", type=float, default=Settings.weight_decay)
    parser.add_argument("--train-limit", type=int, help="the first so many images only, for a trial")
    parser.add_argument("--test-limit", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ours", nargs=argparse.REMAINDER, default=[], help="last: further flags of our side")
    args = parser.parse_args()
    args.work, args.shared, args.binary = args.work.resolve(), args.shared.resolve(), args.binary.resolve()
    sys.exit({"run": run, "table": table}[args.action](args))


if __name__ == "__main__":
    main()
