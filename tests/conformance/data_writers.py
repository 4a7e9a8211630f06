"""Writes small data sets with programs that are not ours, and what their images decode to.

    python data_writers.py            (into the folder data_sets beside this file)

Pillow writes PNG, JPEG and BMP files, the standard library zips and CSV lists, numpy archives, pyarrow
parquet files; idx, CIFAR's binary form and the Visual Decathlon's JSON are written as their authors describe
them. `data_sets.json` has for every spec, relative to the folder, the images of every split: their number,
labels, and the SHA-256 of their pixels as Pillow decodes what was written (JPEG: libjpeg, whose bits our
decoder has). Our own test, `tests/data_writers.rs`, opens each and compares. Versions are in
requirements-data.txt; other versions may compress to other bytes, never to other pixels.
"""
import csv
import gzip
import hashlib
import io
import json
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

OUT = Path(__file__).resolve().parent / "data_sets"
STAMP = (2020, 1, 1, 0, 0, 0)


def picture(number, height=12, width=10, channels=3):
    """A smooth picture with some noise, another one for every number."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:height, :width]
    planes = [127 + 90 * np.sin(0.3 * (number + 1) + 0.5 * c + x * (0.2 + 0.1 * c) + y * 0.3) for c in range(channels)]
    noisy = np.stack(planes, -1) + rng.normal(0, 6, (height, width, channels))
    pixels = noisy.clip(0, 255).astype(np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def encoded(pixels, kind, **options):
    """The bytes of a file, and the pixels that Pillow reads back from it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    back = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
    if kind != "JPEG":
        assert (back == pixels).all()
    return buffer.getvalue(), back


class Expected:
    """By spec and split: what the images are."""

    def __init__(self):
        self.sets = []

    def add(self, spec, splits, classes=None):
        """`splits` has by name a list of (label, pixels) in the order of our door."""
        told = {}
        for split, images in splits.items():
            sha = hashlib.sha256()
            for _, pixels in images:
                sha.update(np.ascontiguousarray(pixels).tobytes())
            told[split] = {"images": len(images), "labels": [label for label, _ in images], "sha256": sha.hexdigest()}
        self.sets.append({"spec": spec, "splits": told, "classes": classes})


def write(name, content):
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def folders(expected):
    """Images of three formats in folders by split and class; the same as a zip."""
    kinds = [("PNG", "png", {}), ("JPEG", "jpg", {"quality": 90}), ("BMP", "bmp", {}),
             ("JPEG", "jpeg", {"quality": 75, "subsampling": 2})]
    files, splits = {}, {}
    for split, turns in (("train", 3), ("test", 1)):
        images = []
        # Our door takes the classes in turn.
        for turn in range(turns):
            for label, name in enumerate(("apple", "pear")):
                number = len(files)
                kind, ending, options = kinds[number % len(kinds)]
                content, pixels = encoded(picture(number), kind, **options)
                files[f"{split}/{name}/{turn}.{ending}"] = content
                images.append((label, pixels))
        splits[split] = images
    for name, content in files.items():
        write(f"folder/{name}", content)
    expected.add("folder", splits, ["apple", "pear"])
    for name, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for member, content in files.items():
                archive.writestr(zipfile.ZipInfo(f"root/{member}", STAMP), content, method)
        write(f"{name}.zip", buffer.getvalue())
        expected.add(f"{name}.zip", splits, ["apple", "pear"])


def arrays(expected):
    """numpy archives with the names that Keras and MedMNIST use."""
    def stack(numbers, channels):
        return np.stack([picture(n, 8, 6, channels) for n in numbers])

    train, test = stack(range(5), 3), stack(range(5, 7), 3)
    labels = [np.array([2, 0, 1, 1, 0]), np.array([1, 2])]
    splits = {"train": list(zip(map(int, labels[0]), train)), "test": list(zip(map(int, labels[1]), test))}
    for name, save in (("plain.npz", np.savez), ("deflated.npz", np.savez_compressed)):
        buffer = io.BytesIO()
        save(buffer, x_train=train, y_train=labels[0], x_test=test, y_test=labels[1].astype(np.uint8)[:, None])
        write(name, buffer.getvalue())
        expected.add(name, splits)
    grey = stack(range(4), 1)
    buffer = io.BytesIO()
    np.savez(buffer, train_images=grey, train_labels=np.arange(4, dtype=np.int32)[:, None])
    write("grey.npz", buffer.getvalue())
    expected.add("grey.npz", {"train": list(enumerate(grey))})


def idx(expected):
    """MNIST's format, one split plain and one compressed: magic, big-endian dimensions, bytes."""
    splits = {}
    for split, prefix, numbers in (("train", "train", range(6)), ("test", "t10k", range(6, 9))):
        images = [(n % 10, picture(n, 9, 7, 1)) for n in numbers]
        pixels = b"".join(p.tobytes() for _, p in images)
        files = {"images-idx3": struct.pack(">4i", 0x803, len(images), 9, 7) + pixels,
                 "labels-idx1": struct.pack(">2i", 0x801, len(images)) + bytes(label for label, _ in images)}
        for name, content in files.items():
            plain = f"idx/{prefix}-{name}-ubyte"
            if split == "test":
                write(plain + ".gz", gzip.compress(content, mtime=0))
            else:
                write(plain, content)
        splits[split] = images
    expected.add("idx", splits)


def cifar(expected):
    """CIFAR's binary form: labels, then the red, the green and the blue plane."""
    for form, before, names in (("cifar10", 0, ("data_batch_1.bin", "test_batch.bin")),
                                ("cifar100", 1, ("train.bin", "test.bin"))):
        splits = {}
        for split, name, numbers in zip(("train", "test"), names, (range(3), range(3, 5))):
            images = [(n % 10, picture(n, 32, 32)) for n in numbers]
            records = [bytes([7] * before + [label]) + p.transpose(2, 0, 1).tobytes() for label, p in images]
            write(f"{form}/{name}", b"".join(records))
            splits[split] = images
        expected.add(form, splits)


def lists(expected):
    """A CSV list with a header and one without, beside its images."""
    images = []
    for number, name in enumerate(("dog", "cat", "dog", "owl")):
        content, pixels = encoded(picture(number), "PNG")
        write(f"list/images/{number}.png", content)
        images.append((name, pixels))
    classes = ["cat", "dog", "owl"]
    rows = [(f"images/{number}.png", name) for number, (name, _) in enumerate(images)]
    told = [(classes.index(name), pixels) for name, pixels in images]
    for name, header in (("headed.csv", [("label", "file_name", "split")]), ("bare.csv", [])):
        buffer = io.StringIO(newline="")
        out = csv.writer(buffer)
        out.writerows(header)
        out.writerows((label, path, "val") if header else (path, label) for path, label in rows)
        write(f"list/{name}", buffer.getvalue().encode())
        expected.add(f"list/{name}", {"val" if header else "train": told}, classes)


def parquet(expected):
    """Both layouts, four codecs, with and without dictionaries, in several row groups and pages."""
    files, told = [], []
    for number in range(11):
        kind, options = (("PNG", {}), ("JPEG", {"quality": 85}))[number % 2]
        content, pixels = encoded(picture(number), kind, **options)
        files.append(content)
        told.append((number % 3, pixels))
    as_struct = pa.array([{"bytes": f, "path": f"{n}.png"} for n, f in enumerate(files)],
                         pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    layouts = {
        "struct": ({"image": as_struct, "label": pa.array([n % 3 for n in range(11)], pa.int64())}, ["ant", "bee", "cow"]),
        "plain": ({"id": pa.array(range(11)), "img": pa.array(files, pa.binary()),
                   "class": pa.array([("x", "y", "z")[n % 3] for n in range(11)])}, ["x", "y", "z"]),
    }
    names = {"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["ant", "bee", "cow"],
                                                                         "_type": "ClassLabel"}}}}
    for layout, (columns, classes) in layouts.items():
        table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(names)})
        for codec in ("snappy", "gzip", "zstd", "none"):
            for dictionary in (False, True):
                # Small pages in both versions of their headers.
                version = "2.0" if codec in ("gzip", "none") and dictionary else "1.0"
                buffer = io.BytesIO()
                pq.write_table(table, buffer, row_group_size=4, compression=codec, use_dictionary=dictionary,
                               data_page_size=600, write_batch_size=2, data_page_version=version)
                name = f"{layout}-{codec}{'-dictionary' if dictionary else ''}.parquet"
                write(f"parquet/{name}", buffer.getvalue())
                expected.add(f"parquet/{name}", {"train": told}, classes)
    table = pa.table(layouts["struct"][0])
    for split, part in (("train", table.slice(0, 8)), ("validation", table.slice(8))):
        buffer = io.BytesIO()
        pq.write_table(part, buffer)
        write(f"hub/data/{split}-00000-of-00001.parquet", buffer.getvalue())
    expected.add("hub", {"train": told[:8], "val": told[8:]}, ["0", "1", "2"])


def decathlon(expected):
    """Two splits of a set of the Visual Decathlon; annotations in another order than images."""
    base, splits = 80_000_000, {}
    for split, numbers in (("train", range(4)), ("val", range(4, 6))):
        images, annotations, told = [], [], []
        for number in numbers:
            content, pixels = encoded(picture(number), "JPEG", quality=95)
            name = f"data/svhn/{split}/{number:04}.jpg"
            write(f"decathlon/{name}", content)
            images.append({"id": base + number, "file_name": name, "width": 10, "height": 12})
            annotations.append({"id": base + number, "image_id": base + number, "category_id": base + number % 10 + 1})
            told.append((number % 10, pixels))
        document = {"images": images, "annotations": annotations[::-1],
                    "categories": [{"id": base + n + 1, "name": f"digit {n}"} for n in range(10)]}
        write(f"decathlon/annotations/svhn_{split}.json", json.dumps(document).encode())
        splits[split] = told
    expected.add("decathlon", splits, [f"digit {n}" for n in range(10)])


def main():
    if OUT.exists():
        shutil.rmtree(OUT)
    expected = Expected()
    for writer in (folders, arrays, idx, cifar, lists, parquet, decathlon):
        writer(expected)
    text = json.dumps(expected.sets, indent=1) + "\n"
    (OUT / "data_sets.json").write_text(text)
    size = sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file())
    print(f"{len(expected.sets)} sets, {size} bytes, in {OUT}")


if __name__ == "__main__":
    main()
