#!/usr/bin/env python3
"""One PyTorch process of `train.py`: `train_worker.py SCHEME LAYOUT BATCH STEPS`.

ResNet-26 at 64×64 as a user of PyTorch writes it, its weights frozen and its batch norms in evaluation mode;
the adapters and the head train. One line of JSON when it is loaded, then one for each step, the first being
the one that warms up.
"""
import json
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

CLASSES, SIDE = 10, 64
STAGES = (64, 128, 256)
BLOCKS = 4


class Conv(nn.Module):
    """A frozen 3×3 convolution and its batch norm, with or without a parallel adapter before the latter."""

    def __init__(self, in_c, out_c, stride, parallel):
        super().__init__()
        self.conv = nn.Conv2d(in_c, out_c, 3, stride, 1, bias=False).requires_grad_(False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.bn = nn.BatchNorm2d(out_c).requires_grad_(False)
        self.alpha = nn.Conv2d(in_c, out_c, 1, stride, bias=False) if parallel else None

    def forward(self, x):
        y = self.conv(x)
        if self.alpha is not None:
            y = y + self.alpha(x)
        return self.bn(y)


class Attention(nn.Module):
    def __init__(self, channels, m=2):
        super().__init__()
        self.alpha = nn.Conv2d(channels, m, 1, bias=False)
        self.k = nn.Conv2d(m, 1, 7, padding=3, bias=False)
        nn.init.normal_(self.k.weight, std=0.01)

    def forward(self, x):
        return x * (2 * torch.sigmoid(self.k(F.relu(self.alpha(x)))))


class Block(nn.Module):
    def __init__(self, in_c, out_c, stride, parallel):
        super().__init__()
        self.first, self.second = Conv(in_c, out_c, stride, parallel), Conv(out_c, out_c, 1, parallel)
        self.stride = stride

    def forward(self, x):
        y = self.second(F.relu(self.first(x)))
        if self.stride == 2:
            x = F.avg_pool2d(x, 2)
            x = torch.cat([x, torch.zeros_like(x)], 1)
        return F.relu(y + x)


class ResNet26(nn.Module):
    def __init__(self, scheme):
        super().__init__()
        parallel, attends = scheme == "parallel", scheme == "adaptive-attention"
        layers, channels = [Conv(3, 32, 1, parallel)], 32
        for planes in STAGES:
            if attends:
                layers.append(Attention(channels))
            for block in range(BLOCKS):
                layers.append(Block(channels, planes, 2 if block == 0 else 1, parallel))
                channels = planes
        self.layers = nn.Sequential(*layers)
        self.end = nn.BatchNorm2d(channels).requires_grad_(False)
        self.head = nn.Linear(channels, CLASSES)

    def forward(self, x):
        return self.head(F.relu(self.end(self.layers(x))).mean((2, 3)))


def main():
    scheme, layout, batch, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    torch.manual_seed(0)
    base_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In evaluation mode the batch norms are frozen; nothing else here tells the modes apart.
    model, images = ResNet26(scheme).eval(), torch.randn(batch, 3, SIDE, SIDE)
    if layout == "channels_last":
        model, images = model.to(memory_format=torch.channels_last), images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch,))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3, momentum=0.9)
    print(json.dumps({"version": torch.__version__, "base_kb": base_kb, "trainable": sum(p.numel() for p in trained)}),
          flush=True)
    for _ in range(steps + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        print(json.dumps({"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu,
                          "loss": loss.item()}), flush=True)


if __name__ == "__main__":
    main()
