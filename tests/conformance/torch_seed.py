"""Our random values again (`src/seed.rs`), so that both sides start from one point and see one order.

A stream is ChaCha with 8 rounds keyed by SHA-256 of (seed, name); normal values come from the ziggurat of
`rand_distr`, and the order of an epoch from Fisher and Yates. `train_compare.py` first holds it against
the weights of a network that our binary drew.
"""
import hashlib
import math
import struct

import numpy as np

R = 3.654152885361008796
U64 = 2.0 ** -52


class Stream:
    """64-bit draws of the stream `name` under `seed`."""

    def __init__(self, seed, name):
        key = hashlib.sha256(struct.pack("<Q", seed) + name.encode()).digest()
        self.key = np.frombuffer(key, "<u4").astype(np.uint32)
        self.block, self.draws, self.at = 0, [], 0

    def next(self):
        if self.at == len(self.draws):
            # Few at first: most arrays are small.
            count = 64 if self.block == 0 else 4096
            self.draws, self.at = chacha8(self.key, self.block, count), 0
            self.block += count
        self.at += 1
        return self.draws[self.at - 1]


def chacha8(key, first, count):
    """The 64-bit words of `count` blocks from number `first`."""
    numbers = np.arange(first, first + count, dtype=np.uint64)
    constants = np.frombuffer(b"expand 32-byte k", "<u4").astype(np.uint32)
    rows = [np.full(count, word, np.uint32) for word in (*constants, *key)]
    rows += [numbers.astype(np.uint32), (numbers >> np.uint64(32)).astype(np.uint32)]
    rows += [np.zeros(count, np.uint32)] * 2
    start = np.stack(rows)
    x = start.copy()
    for _ in range(4):
        for i in range(4):
            quarter(x, i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(x, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return np.ascontiguousarray((x + start).T).view("<u8").reshape(-1).tolist()


def quarter(x, a, b, c, d):
    for to, of, into, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[to] += x[of]
        mixed = x[into] ^ x[to]
        x[into] = (mixed << np.uint32(turn)) | (mixed >> np.uint32(32 - turn))


def tables():
    """The ziggurat's 256 strips of one area: their right ends and the density there."""
    density = lambda x: math.exp(-x * x / 2)
    area = 0.00492867323399  # as rounded where their tables were made
    ends = [area / density(R), R]
    while len(ends) < 256:
        ends.append(math.sqrt(-2 * math.log(area / ends[-1] + density(ends[-1]))))
    ends.append(0.0)
    return ends, [density(x) for x in ends]


ENDS, DENSITIES = tables()


def standard_normal(stream):
    while True:
        bits = stream.next()
        strip = bits & 0xff
        u = (bits >> 12) * U64 * 2 - 1
        x = u * ENDS[strip]
        if abs(x) < ENDS[strip + 1]:
            return x
        if strip == 0:
            return tail(stream, u)
        uniform = (stream.next() >> 11) * 2.0 ** -53
        if DENSITIES[strip + 1] + (DENSITIES[strip] - DENSITIES[strip + 1]) * uniform < math.exp(-x * x / 2):
            return x


def tail(stream, u):
    """Beyond the last strip."""
    x, y = 1.0, 0.0
    inside = lambda: (stream.next() >> 12) * U64 + U64 / 2
    while -2 * y < x * x:
        x = math.log(inside()) / R
        y = math.log(inside())
    return x - R if u < 0 else R - x


def normal(seed, name, count, sigma):
    """`count` draws of N(0, sigma²), as f32."""
    stream = Stream(seed, name)
    return np.array([sigma * standard_normal(stream) for _ in range(count)], np.float32)


def order(seed, epoch, images):
    """The order in which an epoch (from 0) sees the images."""
    stream, found = Stream(seed, f"order of epoch {epoch}"), list(range(images))
    for i in range(images - 1, 0, -1):
        j = (stream.next() * (i + 1)) >> 64
        found[i], found[j] = found[j], found[i]
    return found
