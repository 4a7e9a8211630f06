"""The data of the training comparison: three tasks on real images, read for PyTorch and written for ours.

Both sides get the same lists. MNIST: the first 10,000 images of the training file, and all 10,000 of the
test file. Omniglot small and the sign digits come without a split: of the files of a class, sorted by path
and counted from 0, those with number % 5 == 4 are test images and the others train. Images come as from our
doors: classes sorted by name, class by class in turn, so that a limit keeps them balanced.

`pixels` are at the trunk's size, uint8, three channels: resampled as our door does it (the `image` crate's
triangle filter), grey repeated.
"""
import gzip
import io
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

TASKS = ("omniglot", "mnist", "signs")
EVERY = 5
MNIST_TRAIN = 10_000
OMNIGLOT = ("images_background_small1.zip", "images_background_small2.zip")
SIGNS = "sign_digits_jpg.zip"


def is_test(number):
    """Whether the file of this number, among those of its class, is a test image."""
    return number % EVERY == EVERY - 1


def archives(shared, task):
    if task == "omniglot":
        return [shared / "data" / "omniglot_small" / name for name in OMNIGLOT]
    return [shared / "data" / "sign_digits" / SIGNS]


def class_of(task, member):
    """`Alphabet/characterNN` or the digit's folder; None for what is no image."""
    parts = member.split("/")
    if not member.lower().endswith((".png", ".jpg")) or "__MACOSX" in parts:
        return None
    return "/".join(parts[-3:-1]) if task == "omniglot" else parts[-2]


def members(shared, task):
    """By class, the image files as (archive, member); a class that an earlier archive had is passed over."""
    classes = {}
    for archive in archives(shared, task):
        with zipfile.ZipFile(archive) as zipped:
            found = {}
            for name in sorted(zipped.namelist()):
                label = class_of(task, name)
                if label is not None and label not in classes:
                    found.setdefault(label, []).append((archive, name))
        classes.update(found)
    return dict(sorted(classes.items()))


def in_turn(classes, split):
    """(label, class, archive, member) of a split, the classes taking turns."""
    turns = []
    for label, (name, files) in enumerate(classes.items()):
        kept = [file for number, file in enumerate(files) if is_test(number) == (split == "test")]
        turns += [(turn, label, name, *file) for turn, file in enumerate(kept)]
    return [file for _, *file in sorted(turns, key=lambda t: t[:2])]


def triangle(length, out):
    """The `image` crate's linear resampling as a matrix: a triangle as wide as the larger pixel, in f32."""
    weights = np.zeros((out, length), np.float32)
    ratio = np.float32(length) / np.float32(out)
    stretch = max(ratio, np.float32(1))
    for o in range(out):
        centre = (np.float32(o) + np.float32(0.5)) * ratio
        left = min(max(int(np.floor(centre - stretch)), 0), length - 1)
        right = min(max(int(np.ceil(centre + stretch)), left + 1), length)
        taps = np.arange(left, right, dtype=np.float32) - (centre - np.float32(0.5))
        taps = np.maximum(np.float32(1) - np.abs(taps / stretch), 0)
        weights[o, left:right] = taps / taps.sum(dtype=np.float32)
    return weights


def resized(images, side):
    """uint8 N×H×W×C at side × side."""
    if images.shape[1:3] == (side, side):
        return images
    rows, columns = triangle(images.shape[1], side), triangle(images.shape[2], side)
    real = np.einsum("oh,nhwc->nowc", rows, images.astype(np.float32), optimize=True)
    real = np.einsum("pw,nowc->nopc", columns, real, optimize=True)
    return np.floor(np.clip(real, 0, 255) + np.float32(0.5)).astype(np.uint8)


def read_idx(path):
    with gzip.open(path) as file:
        rank = file.read(4)[3]
        dims = struct.unpack(f">{rank}I", file.read(4 * rank))
        return np.frombuffer(file.read(), np.uint8).reshape(dims)


def mnist(shared, split, limit):
    prefix = {"train": "train", "test": "t10k"}[split]
    images, labels = (read_idx(shared / "data" / "mnist" / f"{prefix}-{kind}-ubyte.gz")
                      for kind in ("images-idx3", "labels-idx1"))
    count = min(MNIST_TRAIN if split == "train" else len(images), limit or len(images))
    return images[:count, :, :, None], labels[:count].astype(np.int64)


def files(shared, task, split, limit, side):
    listed = in_turn(members(shared, task), split)[:limit]
    opened = {archive: zipfile.ZipFile(archive) for archive in archives(shared, task)}
    images = []
    for _, _, archive, member in listed:
        image = Image.open(io.BytesIO(opened[archive].read(member)))
        image = np.asarray(image.convert("L" if task == "omniglot" else "RGB"))
        images.append(resized(image.reshape(1, *image.shape[:2], -1), side))
    return np.concatenate(images), np.array([label for label, *_ in listed], np.int64)


def load(shared, task, split, side, limit=None):
    """(pixels, labels, classes) of a split."""
    if task == "mnist":
        (images, labels), classes = mnist(shared, split, limit), 10
        images = resized(images, side)
    else:
        images, labels = files(shared, task, split, limit, side)
        classes = len(members(shared, task))
    return np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images, labels, classes


def write_for_ours(shared, task, folder, limits=(None, None)):
    """The same lists as files that our doors read; returns the specs of both splits.

    Image files are copied byte by byte into a zip with split folders; of MNIST the idx files are cut."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{task}{''.join(f'-{n}' for n in limits if n)}"
    if task == "mnist":
        write_mnist(shared, folder / name, limits)
        return f"idx:{folder / name}", f"idx:{folder / name}:split=test"
    path = folder / f"{name}.zip"
    classes = members(shared, task)
    opened = {archive: zipfile.ZipFile(archive) for archive in archives(shared, task)}
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w") as out:
        for split, limit in zip(("train", "test"), limits):
            for _, label, archive, member in in_turn(classes, split)[:limit]:
                entry = zipfile.ZipInfo(f"{split}/{label}/{Path(member).name}", (1980, 1, 1, 0, 0, 0))
                out.writestr(entry, opened[archive].read(member))
    part.rename(path)
    return f"images:{path}:split=train", f"images:{path}:split=test"


def write_mnist(shared, folder, limits):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for split, prefix, limit in zip(("train", "test"), ("train", "t10k"), limits):
        images, labels = mnist(shared, split, limit)
        count, height, width, _ = images.shape
        head = bytes([0, 0, 8, 3]) + struct.pack(">3I", count, height, width)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = bytes([0, 0, 8, 1]) + struct.pack(">I", count)
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(head + labels.astype(np.uint8).tobytes())
