"""Recomputes the arithmetic of the chip profiles from their definitions, for tests/profiles.rs.

    python tests/conformance/hardware_golden.py > tests/conformance/hardware_golden.json

Python integers and fractions only: nothing here shares code, or an idea, with the engine. Formulas are
those of the chips' documentation: Xilinx DPU (power-of-two), Gemmini, NVDLA, PULP-NN, and accumulators
of any width and overflow rule with any rounding.
"""

import json
import math
import random
import struct
from fractions import Fraction

RANDOM = random.Random(20261121)


def f32(x):
    """The nearest f32, ties to even."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def clip(x, low=-128, high=127):
    return min(max(x, low), high)


def rounded(x, how):
    """A fraction to an integer."""
    x = Fraction(x)
    low = math.floor(x)
    rest = x - low
    if rest == 0:
        return low
    half = Fraction(1, 2)
    tie = {
        "half-up": True, "half-down": False, "half-away": x > 0, "half-zero": x < 0,
        "half-even": low % 2 == 1, "half-odd": low % 2 == 0,
    }
    if how in tie:
        return low + int(rest > half or (rest == half and tie[how]))
    return low + int({"floor": False, "ceil": True, "trunc": x < 0}[how])


def codes(n, low=-128, high=127):
    return [RANDOM.randint(low, high) for _ in range(n)]


# One layer: 4 outputs over 18 inputs (3 x 3 x 2 at one position), weights per channel.
DEPTH, CHANNELS = 18, 4


def layer(name, fields, low_x=-128, low_w=-127):
    x, w = codes(DEPTH * 6, low_x), [codes(DEPTH, low_w) for _ in range(CHANNELS)]
    images = [x[i * DEPTH:(i + 1) * DEPTH] for i in range(6)]
    bias = [RANDOM.randint(-4000, 4000) for _ in range(CHANNELS)]
    case = {"profile": name, "input": images, "weights": w, "bias": bias, **fields}
    return case, images, w, bias


def dpu_layer():
    positions = {"x": RANDOM.randint(3, 7), "w": RANDOM.randint(5, 9), "y": RANDOM.randint(1, 4)}
    case, images, w, bias = layer("dpu", {"positions": positions})
    shift = positions["x"] + positions["w"] - positions["y"]
    acc = lambda image, c: sum(a * b for a, b in zip(image, w[c])) + bias[c]
    case["out"] = [[clip(rounded(Fraction(acc(i, c), 1 << shift), "half-up")) for c in range(CHANNELS)] for i in images]
    return case


def gemmini_layer():
    scale = f32(RANDOM.uniform(0.0005, 0.003))
    case, images, w, bias = layer("gemmini", {"factor": scale})
    acc = lambda image, c: sum(a * b for a, b in zip(image, w[c])) + bias[c]
    # The sums are below 2^24: exact as f32.
    case["out"] = [[clip(rounded(f32(f32(acc(i, c)) * scale), "half-even")) for c in range(CHANNELS)] for i in images]
    return case


def nvdla_layer():
    reals = [RANDOM.uniform(0.0001, 0.003) for _ in range(CHANNELS)]
    case, images, w, bias = layer("nvdla", {"factors": reals})
    shift = max(n for n in range(64) if rounded(Fraction(max(reals)) * 2**n, "half-even") <= 32767)
    scale = [rounded(Fraction(r) * 2**shift, "half-even") for r in reals]
    acc = lambda image, c: sum(a * b for a, b in zip(image, w[c])) + bias[c]
    out = lambda i, c: clip(rounded(Fraction(acc(i, c) * scale[c], 1 << shift), "half-away"))
    case["out"] = [[out(i, c) for c in range(CHANNELS)] for i in images]
    return case


def pulp_layer():
    """Unsigned maps: codes 0 to 255, presented as such."""
    reals = [RANDOM.uniform(0.0001, 0.003) for _ in range(CHANNELS)]
    case, images, w, bias = layer("pulp", {"factors": reals})
    images = [[a + 128 for a in image] for image in images]
    case["input"] = images
    d = max(n for n in range(63) if rounded(Fraction(max(reals)) * 2**n, "half-even") <= 2**31 - 1)
    k = [rounded(Fraction(r) * 2**d, "half-even") for r in reals]
    out = lambda i, c: clip((k[c] * sum(a * b for a, b in zip(i, w[c])) + k[c] * bias[c]) >> d, 0, 255)
    case["out"] = [[out(i, c) for c in range(CHANNELS)] for i in images]
    return case


def fit(value, bits, overflow):
    """An accumulator's value, and whether it left the width."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if low <= value <= high:
        return value, False
    return (clip(value, low, high) if overflow == "saturate" else (value - low) % (1 << bits) + low), True


def custom_layer():
    rule = {
        "rounding": RANDOM.choice(["half-up", "half-down", "half-away", "half-zero", "half-even", "half-odd", "floor",
                                   "ceil", "trunc"]),
        "accumulator": RANDOM.choice([16, 16, 17, 17, 18, 24, 48]), "overflow": RANDOM.choice(["wrap", "saturate"]),
        "when": RANDOM.choice(["each-add", "each-tile:5", "each-tile:9", "end"]), "weights": 8, "activations": 8,
        "granularity": "per-channel",
    }
    name = "custom:" + ",".join(f"{k}={v}" for k, v in rule.items())
    reals = [RANDOM.choice([Fraction(1, 256), Fraction(3, 1024), Fraction(-5, 1024), Fraction(1, 512)]) for _ in range(CHANNELS)]
    case, images, w, bias = layer(name, {"factors": [float(r) for r in reals]}, -20, -50)
    bits, overflow, when = rule["accumulator"], rule["overflow"], rule["when"]
    tile = {"each-add": 1, "end": 0}.get(when) if ":" not in when else int(when.split(":")[1])
    out, overflows = [], 0
    for image in images:
        row = []
        for c in range(CHANNELS):
            acc, left = 0, False
            for n, (a, b) in enumerate(zip(image, w[c]), 1):
                acc += a * b
                if tile and n % tile == 0:
                    acc, away = fit(acc, bits, overflow)
                    left |= away
            acc, away = fit(acc + bias[c], bits, overflow)
            left |= away
            overflows += left
            row.append(clip(rounded(acc * reals[c], rule["rounding"])))
        out.append(row)
    case["out"], case["overflows"] = out, overflows
    return case


def sums():
    cases = []
    for _ in range(3):
        a, b = codes(60), codes(60)
        p = {k: RANDOM.randint(3, 7) for k in "aby"}
        common = max(p["a"], p["b"])
        total = [(x << (common - p["a"])) + (y << (common - p["b"])) for x, y in zip(a, b)]
        out = [clip(rounded(Fraction(t) / Fraction(2) ** (common - p["y"]), "half-up")) for t in total]
        scales = [2.0 ** -p[k] for k in "aby"]
        cases.append({"profile": "dpu", "scales": scales, "a": a, "b": b, "out": out})
        scales = [f32(RANDOM.uniform(0.01, 0.05)) for _ in range(3)]
        load = lambda q, s: clip(rounded(f32(q * f32(s / scales[2])), "half-even"))
        out = [clip(load(x, scales[0]) + load(y, scales[1])) for x, y in zip(a, b)]
        cases.append({"profile": "gemmini", "scales": scales, "a": a, "b": b, "out": out})
        ua, ub = [x + 128 for x in a], [y + 128 for y in b]
        ratios = [Fraction(s) / Fraction(scales[2]) for s in scales[:2]]
        d = max(n for n in range(31) if all(r * 2**n < Fraction(65535, 2) for r in ratios))
        m = [rounded(r * 2**d, "half-even") for r in ratios]
        out = [min(((x * m[0] + y * m[1]) >> d) % 65536, 255) for x, y in zip(ua, ub)]
        cases.append({"profile": "pulp", "scales": scales, "a": ua, "b": ub, "out": out})
    return cases


def averages():
    """Windows of codes under the DPU's factors."""
    listed = {9: (7, 6), 25: (10, 8), 36: (7, 8), 49: (21, 10), 196: (21, 12)}
    cases = []
    for area in (2, 3, 4, 6, 9, 16, 25, 36, 49, 64, 196):
        window = codes(area)
        if area in listed:
            k, n = listed[area]
        else:
            most = 7 + math.ceil(math.log2(area))
            best = lambda n: rounded(Fraction(1 << n, area), "half-even")
            n = min(range(most), key=lambda n: (abs(Fraction(best(n), 1 << n) - Fraction(1, area)), n))
            k = best(n)
        cases.append({"window": window, "out": clip(rounded(Fraction(sum(window) * k, 1 << n), "half-up"))})
    return cases


def main():
    layers = [make() for make in (dpu_layer, gemmini_layer, nvdla_layer, pulp_layer) for _ in range(2)]
    layers += [custom_layer() for _ in range(16)]
    groups = {"layers": layers, "sums": sums(), "averages": averages()}
    text = ",\n".join(f'"{k}": [\n' + ",\n".join(json.dumps(c) for c in v) + "\n]" for k, v in groups.items())
    print("{\n" + text + "\n}")


if __name__ == "__main__":
    main()
