"""The side of the comparison that is ours: the `trunkline` binary, and the table of what agreed.

Run as a program it prints the table of the rows in a JSON-lines file and says by its exit status whether
anything differed: `trunkline_cli.py ROWS.jsonl`.
"""
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field

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


def main():
    with open(sys.argv[1]) as lines:
        rows = [Row(**json.loads(line)) for line in lines]
    print(markdown(rows))
    sys.exit(0 if rows and all(r.passed for r in rows) else 1)


if __name__ == "__main__":
    main()
