"""The side of the comparison that is ours: the `trunkline` binary, and the table of what agreed.

Run as a program it prints the table of the rows in a JSON-lines file and says by its exit status whether
anything differed: `trunkline_cli.py ROWS.jsonl`.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


class Binary:
    def __init__(self, path):
        self.path = str(path)

    def has_profile(self, profile):
        """Whether the binary knows this arithmetic: it lists those it knows when it is given another."""
        tried = subprocess.run([self.path, "verify", "none", "--golden", "none", "--profile", profile],
                               capture_output=True, text=True)
        return "unknown arithmetic profile" not in tried.stderr

    def verify(self, model, golden, profile):
        """The verdict of `trunkline verify`; raises RuntimeError with its words if it could not compare."""
        command = [self.path, "verify", str(model), "--golden", str(golden), "--profile", profile, "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True)
        try:
            (verdict,) = json.loads(done.stdout)["verdicts"]
        except (ValueError, KeyError):
            raise RuntimeError(done.stderr.strip() or f"exit status {done.returncode} and no report") from None
        return verdict


@dataclass
class Row:
    """What was compared with one peer under one profile."""
    peer: str
    profile: str
    suite: str
    graphs: int = 0
    layers: int = 0
    codes: int = 0
    differing: int = 0
    graphs_differing: int = 0
    refused_by_peer: int = 0
    failed: int = 0
    skipped: str = ""
    # Why differences are expected, where the profile itself says that it is not exact.
    inexact: str = ""
    first_by_operator: Counter = field(default_factory=Counter)

    def take(self, verdict):
        self.graphs += 1
        self.layers += verdict["layers"]
        self.codes += verdict["codes"]
        self.differing += verdict["differing"]
        self.graphs_differing += verdict["differing"] > 0

    @property
    def passed(self):
        return not self.failed and (not self.differing or bool(self.inexact))


COLUMNS = ["suite", "peer", "profile", "graphs", "layers", "codes compared", "differing", "graphs that differ",
           "refused by the peer", "errors"]


def markdown(rows):
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for r in rows:
        if r.skipped:
            cells = [r.suite, r.peer, r.profile, f"SKIPPED: {r.skipped}"] + [""] * (len(COLUMNS) - 4)
        else:
            cells = [r.suite, r.peer, r.profile, r.graphs, r.layers, f"{r.codes:,}", f"{r.differing:,}",
                     r.graphs_differing, r.refused_by_peer, r.failed]
        lines.append("| " + " | ".join(str(c) for c in cells) + " |")
    notes = sorted({f"{r.profile}: differences are expected: {r.inexact}" for r in rows if r.inexact})
    return "\n".join(lines + [""] * bool(notes) + notes)


def save_golden(stem, reference, inputs, outputs, layers):
    """`stem`.golden.npz and its layers file, as `trunkline verify` reads them."""
    golden = stem.with_name(stem.name + ".golden.npz")
    np.savez(golden, inputs=inputs, **{reference: outputs})
    np.savez(stem.with_name(stem.name + ".golden_layers.npz"), **layers)
    return golden


def save_rows(rows, path):
    with open(path, "a") as out:
        for row in rows:
            out.write(json.dumps(vars(row)) + "\n")


def run_suites(about, images, random_suite, real_suite):
    """The command line of a live comparison: its suites, their table, and its exit status."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=Path, help="the trunkline binary")
    parser.add_argument("--graphs", type=int, default=300, help="random graphs (300)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seed", type=int, help="this random graph only")
    parser.add_argument("--images", type=int, default=images, help=f"inputs per graph ({images})")
    parser.add_argument("--models", type=Path, help="the folder of the shared models, for the real ones")
    parser.add_argument("--keep", type=Path, help="where graphs that differ are kept (a new folder)")
    parser.add_argument("--results", type=Path, help="append the table's rows to this file, as JSON lines")
    parser.add_argument("--verbose", action="store_true", help="name every difference and refusal")
    args = parser.parse_args()
    binary = Binary(args.binary.resolve())
    folder = args.keep or Path(tempfile.mkdtemp(prefix="trunkline-conformance-"))
    folder.mkdir(parents=True, exist_ok=True)
    one = args.seed is not None
    seeds = [args.seed] if one else range(args.first_seed, args.first_seed + args.graphs)
    rows = random_suite(binary, folder, seeds, args.images, args.verbose or one)
    if args.models and not one:
        rows += real_suite(binary, folder, args.models, args.images, args.verbose)
    print(markdown(rows))
    for row in rows:
        if row.first_by_operator:
            print(f"{row.suite}, {row.peer}: first differences by operator: {dict(row.first_by_operator.most_common())}")
    if args.results:
        save_rows(rows, args.results)
    sys.exit(0 if all(r.passed for r in rows) else 1)


def main():
    with open(sys.argv[1]) as lines:
        rows = [Row(**json.loads(line)) for line in lines]
    print(markdown(rows))
    sys.exit(0 if rows and all(r.passed for r in rows) else 1)


if __name__ == "__main__":
    main()
