#!/usr/bin/env python3
"""PyTorch's side of bench/compare images: a folder of JPEG files through torchvision's
transforms and a DataLoader.

--kind pil is the pipeline of PyTorch's ImageNet example: ImageFolder, which opens files
with Pillow, and the transforms of version 1. --kind tensor is the newer way: files are
decoded to tensors by torchvision.io, and go through the transforms of version 2.
"""

import argparse
import json
import sys
import time

import torch
from torch.utils.data import ConcatDataset, DataLoader
from torchvision import datasets, io, transforms
from torchvision.transforms import v2

REPEAT, BATCH = 256, 64  # as in bench/images
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def folder(path, kind):
    if kind == "pil":
        return datasets.ImageFolder(path, transforms.Compose([
            transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(),
            transforms.ToTensor(), transforms.Normalize(MEAN, STD),
        ]))
    return datasets.ImageFolder(path, v2.Compose([
        v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip(),
        v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD),
    ]), loader=lambda p: io.decode_jpeg(io.read_file(p), mode=io.ImageReadMode.RGB))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder")
    p.add_argument("--kind", choices=["pil", "tensor"], default="pil")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--window", type=float, default=3)
    p.add_argument("--serve", action="store_true", help="measure once for each line on standard input and answer in JSON")
    a = p.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    loader = DataLoader(ConcatDataset([folder(a.folder, a.kind)] * REPEAT), BATCH, shuffle=True, num_workers=a.workers, drop_last=True)
    batches = iter(loader)
    next(batches)
    if a.serve:
        print("{}", flush=True)
    for _ in sys.stdin if a.serve else [None]:
        # What was made ahead of a window, two batches a worker, does not count.
        for _ in range(2 * a.workers + 1):
            next(batches)
        began, n = time.perf_counter(), 0
        while True:
            x, _ = next(batches)
            n += x.shape[0]
            took = time.perf_counter() - began
            if took >= a.window:
                break
        if a.serve:
            print(json.dumps({"rate": n / took}), flush=True)
        else:
            print(f"{n / took:.0f} images/s with {a.workers} workers, {a.kind}")
    if a.serve:
        print("{}", flush=True)  # nothing more to say


if __name__ == "__main__":
    main()
