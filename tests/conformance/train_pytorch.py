#!/usr/bin/env python3
"""Trains in PyTorch, in f32, what `trunkline train` trains through the int8 trunk; prints one line of JSON.

  train_pytorch.py --trunk resnet20_cifar10.onnx --shared ../shared --task signs --scheme parallel:init=zero \\
      --batch-norm frozen --epochs 10 --batch 32 --lr 0.05 --schedule cosine --weight-decay 0.0005 --seed 0

The trunk is frozen; the adapters, a linear head and, with `--batch-norm batch`, the batch norms (affine and
running statistics) train. `torch_data.py` says which images are trained on and which are tested, and
`torch_trunk.py` where the adapters sit. SGD with momentum; weight decay on everything that trains; cosine: by
step, to 0; step: a tenth after half and again after three quarters of the steps. No augmentation. The last batch of
an epoch is as small as it comes. Fresh arrays and the order of the images are those of our side under the
same seed (`torch_seed.py`); with `--init` the arrays start at the values of one of our adapter files.
"""
import argparse
import json
import math
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import torch_data
import torch_seed
import torch_trunk

# The shared CIFAR-10 ResNets were trained with ImageNet's values (their PROVENANCE.md).
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EVAL_BATCH = 250


def normalised(pixels):
    """uint8 N×H×W×3 to the trunk's input."""
    x = pixels.to(torch.float32) / 255
    x = (x - torch.tensor(MEAN)) / torch.tensor(DEVIATION)
    return x.permute(0, 3, 1, 2).contiguous()


def rate(args, step, steps):
    """The learning rate of a step."""
    done = step / steps
    if args.schedule == "cosine":
        return args.lr * 0.5 * (1 + math.cos(math.pi * done))
    if args.schedule == "step":
        return args.lr * 0.1 ** ((done >= 0.5) + (done >= 0.75))
    return args.lr


class Set:
    """Images and labels; with `features`, what the head reads of them instead of the images."""

    def __init__(self, args, split, side, limit):
        pixels, labels, self.classes = torch_data.load(args.shared, args.task, split, side, limit)
        self.pixels, self.labels, self.features = torch.from_numpy(pixels), torch.from_numpy(labels), None

    def __len__(self):
        return len(self.labels)

    def logits(self, trunk, index):
        if self.features is not None:
            return trunk.head(self.features[index])
        return trunk(normalised(self.pixels[index]))

    def keep_features(self, trunk):
        """Of a trunk in which nothing trains before the head, and nothing depends on the batch."""
        with torch.no_grad():
            parts = [trunk.features(normalised(part)) for part in self.pixels.split(EVAL_BATCH)]
        self.features = torch.cat(parts)


def evaluate(trunk, data):
    trunk.eval()
    right = 0
    with torch.no_grad():
        for index in torch.arange(len(data)).split(EVAL_BATCH):
            right += (data.logits(trunk, index).argmax(1) == data.labels[index]).sum().item()
    return right / len(data)


def train_epoch(trunk, optimizer, data, args, epoch):
    """Mean loss and accuracy over the epoch's images, as they were seen."""
    trunk.train()
    batches = torch.tensor(torch_seed.order(args.seed, epoch, len(data))).split(args.batch)
    loss_sum, right = 0.0, 0
    for number, index in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = rate(args, epoch * len(batches) + number, args.epochs * len(batches))
        logits = data.logits(trunk, index)
        loss = F.cross_entropy(logits, data.labels[index], label_smoothing=args.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(index)
        right += (logits.argmax(1) == data.labels[index]).sum().item()
    return loss_sum / len(data), right / len(data)


def arguments(given):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trunk", type=Path, required=True, help="an ONNX file")
    parser.add_argument("--shared", type=Path, required=True, help="the shared folder, for its data")
    parser.add_argument("--task", choices=torch_data.TASKS, required=True)
    parser.add_argument("--scheme", default="head-only", help="NAME[:key=value,…], as for trunkline train")
    parser.add_argument("--sites", choices=torch_trunk.SITES, default="all-but-stem", help="of parallel adapters")
    parser.add_argument("--batch-norm", choices=torch_trunk.BATCH_NORM, default="frozen")
    parser.add_argument("--head", choices=("fresh", "keep"), default="fresh",
                        help="keep: the file's head, if it has the task's number of classes")
    parser.add_argument("--init", type=Path, help="a folder with adapter_model.safetensors to start from")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--schedule", choices=("constant", "step", "cosine"), default="cosine")
    parser.add_argument("--weight-decay", type=float, default=0.0005)
    parser.add_argument("--label-smoothing", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", type=int, default=32, help="of the trunk's input")
    parser.add_argument("--train-limit", type=int, help="the first so many training images")
    parser.add_argument("--test-limit", type=int)
    parser.add_argument("--eval-every", type=int, help="epochs between tests (after the last one only)")
    return parser.parse_args(given)


def train(given=None):
    """Trains what the command line `given` says; what it prints."""
    args = arguments(given)
    torch.set_num_threads(args.threads)
    data, test = Set(args, "train", args.side, args.train_limit), Set(args, "test", args.side, args.test_limit)
    trunk = torch_trunk.Trunk(args.trunk, args.scheme, args.sites, args.batch_norm, data.classes, args.head, args.seed)
    if args.init:
        from safetensors.torch import load_file
        trunk.load(load_file(args.init / "adapter_model.safetensors"))
    optimizer = torch.optim.SGD(trunk.parameters(), lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay)
    start, cpu = time.perf_counter(), time.process_time()
    if args.scheme == "head-only" and args.batch_norm == "frozen":
        data.keep_features(trunk.eval())
        test.keep_features(trunk)
    losses, train_acc, val_acc, seconds = [], [], {}, []
    for epoch in range(args.epochs):
        began = time.perf_counter()
        loss, acc = train_epoch(trunk, optimizer, data, args, epoch)
        losses.append(loss)
        train_acc.append(acc)
        seconds.append(time.perf_counter() - began)
        if epoch + 1 == args.epochs or args.eval_every and (epoch + 1) % args.eval_every == 0:
            val_acc[epoch + 1] = evaluate(trunk, test)
    return {
        **{key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()},
        "images": [len(data), len(test)], "classes": data.classes,
        "trainable": sum(p.numel() for p in trunk.parameters()), "train/loss": losses, "train/acc": train_acc,
        "val/acc": val_acc, "acc": val_acc.get(args.epochs), "epoch_seconds": seconds,
        "seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu,
        "torch": torch.__version__, "cpus": os.cpu_count()}


if __name__ == "__main__":
    print(json.dumps(train()))
