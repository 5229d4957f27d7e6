#!/usr/bin/env python3
"""Pictures as torchvision's transforms change them, with fixed parameters.

Needs torchvision; run by itself. It writes data/transforms/testdata/functional.json:
a picture of n channels is (1 + the number formula of common.py)/2 with the case's seed.
It also draws parameters of the random transforms many times and notes their moments.
"""

import json
import math
import os

import torch
import torchvision
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from common import ROOT, noise

HOW = {"nearest": InterpolationMode.NEAREST, "bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
cases = []


def picture(seed, *shape):
    return ((noise(seed, *shape) + 1) / 2).to(torch.float32)


def case(op, out, seed, shape, **args):
    cases.append({
        "op": op, "args": args, "seed": seed, "in": list(shape), "out": list(out.shape),
        "values": [float("%.7g" % v) for v in out.flatten().tolist()],
    })


def main():
    rgb, grey = (3, 7, 9), (1, 8, 6)
    seed = 0
    for shape in (rgb, grey):
        seed += 1
        case("horizontal_flip", F.horizontal_flip(picture(seed, *shape)), seed, shape)
        case("vertical_flip", F.vertical_flip(picture(seed, *shape)), seed, shape)
    for shape, size in [((1, 16, 23), (5, 7)), ((1, 9, 7), (9, 15)), ((3, 6, 5), (4, 9)), ((1, 31, 3), (4, 3)), ((1, 2, 2), (7, 5)), ((1, 1, 1), (2, 3))]:
        for how in ("bilinear", "bicubic"):
            seed += 1
            out = F.resize(picture(seed, *shape), list(size), HOW[how], antialias=True)
            case("resize", out, seed, shape, height=size[0], width=size[1], how=how)
    for size, shape in [(5, (1, 9, 14)), (6, (1, 17, 8)), (4, (1, 4, 9))]:
        seed += 1
        case("resize_shorter", F.resize(picture(seed, *shape), [size], antialias=True), seed, shape, size=size)
    for top, left, h, w, size in [(1, 2, 9, 5, (6, 7)), (0, 0, 3, 11, (2, 2)), (8, 9, 4, 3, (9, 9)), (4, 4, 1, 1, (2, 2))]:
        for how in ("bilinear", "bicubic"):
            seed += 1
            out = F.resized_crop(picture(seed, 1, 12, 14), top, left, h, w, list(size), HOW[how], antialias=True)
            case("resized_crop", out, seed, (1, 12, 14), top=top, left=left, h=h, w=w, height=size[0], width=size[1], how=how)
    for h, w in [(3, 4), (4, 3), (7, 9), (10, 12), (2, 14), (9, 2)]:
        seed += 1
        case("center_crop", F.center_crop(picture(seed, 1, 7, 9), [h, w]), seed, (1, 7, 9), height=h, width=w)
    for mode, fill in [("constant", 0), ("constant", 0.3), ("edge", 0), ("reflect", 0)]:
        for top, left, h, w in [(0, 0, 7, 9), (6, 7, 7, 9), (1, 5, 11, 10)]:
            seed += 1
            padded = F.pad(picture(seed, 1, 7, 9), [4], fill=fill, padding_mode=mode)
            case("crop", F.crop(padded, top, left, h, w), seed, (1, 7, 9), padding=4, mode=mode, fill=fill, top=top, left=left, height=h, width=w)
    for how in ("nearest", "bilinear"):
        for angle in (30, -77.5, 90, 180, 3):
            for fill in (0, 0.6):
                seed += 1
                out = F.rotate(picture(seed, 1, 8, 12), angle, HOW[how], fill=fill)
                case("rotate", out, seed, (1, 8, 12), angle=angle, how=how, fill=fill)
        for angle, translate, scale, shear, fill in [
            (0, [2, -1], 1, [0, 0], 0), (25, [0, 0], 1.3, [0, 0], 0), (-40, [1, 3], 0.7, [12, 0], 0.2),
            (10, [-2, 0], 1.1, [-9, 17], 0), (0, [0, 0], 1, [30, -20], 0.9),
        ]:
            seed += 1
            out = F.affine(picture(seed, 3, 7, 6), angle, translate, scale, shear, HOW[how], fill=fill)
            case("affine", out, seed, (3, 7, 6), angle=angle, right=translate[0], down=translate[1], scale=scale, shear_x=shear[0], shear_y=shear[1], how=how, fill=fill)
    for op, function in [("brightness", F.adjust_brightness), ("contrast", F.adjust_contrast), ("saturation", F.adjust_saturation), ("hue", F.adjust_hue)]:
        for factor in [0, 0.4, 1, 1.7] if op != "hue" else [-0.5, -0.13, 0, 0.27, 0.5]:
            for shape in (rgb, grey):
                seed += 1
                case(op, function(picture(seed, *shape), factor), seed, shape, factor=factor)
    case("normalize", F.normalize(picture(1, *rgb), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), 1, rgb,
         mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    case("normalize", F.normalize(picture(2, *grey), [0.1307], [0.3081]), 2, grey, mean=[0.1307], std=[0.3081])
    case("erase", F.erase(picture(3, *rgb), 2, 1, 3, 5, torch.tensor([0.25])[:, None, None]), 3, rgb, y=2, x=1, h=3, w=5, value=0.25)

    # Batches: five pictures of 4 classes.
    shape = (5, 2, 6, 7)
    labels = torch.tensor([3, 0, 1, 1, 2])
    one_hot = torch.nn.functional.one_hot(labels, 4).to(torch.float32)
    for lam in (0.3, 1.0):
        seed += 1
        params = dict(labels=labels, batch_size=5, lam=lam)
        mix = v2.MixUp(num_classes=4)
        case("mixup", mix.transform(picture(seed, *shape), params), seed, shape, lam=lam)
        case("mixup_labels", mix._mixup_label(one_hot, lam=lam), seed, (5, 4), lam=lam, labels=labels.tolist())
    for x1, y1, x2, y2 in [(1, 2, 5, 6), (0, 0, 7, 6), (3, 3, 3, 4)]:
        seed += 1
        lam = 1 - (x2 - x1) * (y2 - y1) / (6 * 7)
        mix = v2.CutMix(num_classes=4)
        params = dict(labels=labels, batch_size=5, box=(x1, y1, x2, y2), lam_adjusted=lam)
        case("cutmix", mix.transform(picture(seed, *shape), params), seed, shape, x0=x1, y0=y1, x1=x2, y1=y2)

    torch.manual_seed(1)
    moments = {}

    def draws(name, make, n=100000):
        values = torch.tensor([make() for _ in range(n)], dtype=torch.float64)
        moments[name] = {"n": n, "mean": values.mean(0).tolist(), "var": values.var(0).tolist()}

    from torchvision.transforms import RandomErasing, RandomResizedCrop

    image = torch.zeros(3, 375, 500)
    draws("resized_crop", lambda: RandomResizedCrop.get_params(image, [0.08, 1], [3 / 4, 4 / 3]))
    narrow = torch.zeros(3, 20, 200)
    draws("resized_crop_narrow", lambda: RandomResizedCrop.get_params(narrow, [0.5, 1], [3 / 4, 4 / 3]))
    draws("erasing", lambda: RandomErasing.get_params(torch.zeros(3, 40, 60), (0.02, 0.33), (0.3, 3.3), [0.0])[:4])

    folder = os.path.join(ROOT, "data", "transforms", "testdata")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "functional.json"), "w") as f:
        f.write('{"torchvision": "%s", "moments": %s, "cases": [\n' % (torchvision.__version__.split("+")[0], json.dumps(moments)))
        f.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
