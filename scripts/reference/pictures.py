#!/usr/bin/env python3
"""JPEG files as libjpeg-turbo decodes them, and pictures scaled by Pillow.

Needs Pillow; run by itself. It writes internal/jpeg/testdata (files, and the planes
of their components, which libjpeg's accurate integer transform gives) and
data/testdata/views (files, and parts of them scaled by Pillow to bytes of RGB).
"""

import base64
import io
import json
import os

import numpy as np
from PIL import Image

from common import ROOT, bits


def scene(width, height, seed):
    """A picture with slopes, edges and some noise, as bytes [height, width, 3]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    noise = (bits(seed, width * height * 3) >> np.uint64(24)).astype(np.float64).reshape(height, width, 3) - 128
    planes = [
        128 + 90 * np.sin(x / 7 + seed) + 40 * np.cos(y / 5),
        255 * x / width - 60 * (np.hypot(x - width / 3, y - height / 2) < height / 4),
        255 * y / height + 70 * (np.hypot(x - width / 1.5, y - height / 3) < height / 5),
    ]
    return np.clip(np.stack(planes, -1) + noise / 8, 0, 255).astype(np.uint8)


def jpeg(array, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def planes(raw):
    """The components as libjpeg has them before it makes RGB; chroma is only the
    file's own where it is not subsampled."""
    image = Image.open(io.BytesIO(raw))
    if image.mode == "L":
        return [np.asarray(image)]
    image.draft("YCbCr", image.size)
    assert image.mode == "YCbCr", image.mode
    return [np.asarray(image)[..., i] for i in range(3)]


FILES = {
    "grey": lambda: jpeg(scene(43, 37, 1)[..., 0], quality=90),
    "444": lambda: jpeg(scene(43, 37, 2), quality=90, subsampling="4:4:4"),
    "422": lambda: jpeg(scene(43, 37, 3), quality=85, subsampling="4:2:2"),
    "420": lambda: jpeg(scene(43, 37, 4), quality=75, subsampling="4:2:0"),
    "coarse": lambda: jpeg(scene(40, 32, 5), quality=5, subsampling="4:2:0"),
    "fine": lambda: jpeg(scene(40, 32, 6), quality=100, subsampling="4:4:4"),
    "optimized": lambda: jpeg(scene(64, 50, 7), quality=92, subsampling="4:2:0", optimize=True),
    "restart": lambda: jpeg(scene(64, 50, 8), quality=90, subsampling="4:2:0", restart_marker_blocks=3),
    "flat": lambda: jpeg(np.full((17, 33, 3), (200, 30, 90), np.uint8), quality=90),
    "progressive": lambda: jpeg(scene(43, 37, 9), quality=90, progressive=True),
}


def main():
    folder = os.path.join(ROOT, "internal", "jpeg", "testdata")
    os.makedirs(folder, exist_ok=True)
    for name, make in FILES.items():
        raw = make()
        with open(os.path.join(folder, name + ".jpg"), "wb") as f:
            f.write(raw)
        if name == "progressive":  # refused
            continue
        with open(os.path.join(folder, name + ".planes"), "wb") as f:
            for p in planes(raw):
                f.write(p.tobytes())

    folder = os.path.join(ROOT, "data", "testdata", "views")
    os.makedirs(folder, exist_ok=True)
    sources = {
        "scene-420.jpg": jpeg(scene(120, 90, 11), quality=90, subsampling="4:2:0"),
        "scene-444.jpg": jpeg(scene(90, 120, 12), quality=95, subsampling="4:4:4"),
        "scene-progressive.jpg": jpeg(scene(64, 48, 13), quality=90, progressive=True, subsampling="4:4:4"),
    }
    buffer = io.BytesIO()
    Image.fromarray(scene(61, 47, 14)).save(buffer, "PNG")
    sources["scene.png"] = buffer.getvalue()
    buffer = io.BytesIO()
    Image.fromarray(scene(61, 47, 15)[..., 1]).save(buffer, "PNG")
    sources["grey.png"] = buffer.getvalue()
    cases = []
    for name, raw in sources.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(raw)
        image = Image.open(io.BytesIO(raw)).convert("RGB")
        w, h = image.size
        for crop, size in [
            ((0, 0, w, h), (24, 20)),
            ((0, 0, w, h), (w, h)),
            ((5, 7, w - 9, h - 4), (16, 31)),
            ((13, 11, 13 + 21, 11 + 17), (32, 32)),
            ((w - 6, h - 5, w, h), (9, 9)),
            ((3, 2, 4, 3), (4, 4)),
        ]:
            for filter in ("bilinear", "bicubic"):
                part = image.crop(crop).resize(size, getattr(Image.Resampling, filter.upper()))
                cases.append({
                    "file": name, "crop": crop, "size": size, "filter": filter,
                    "rgb": base64.b64encode(np.asarray(part).tobytes()).decode(),
                })
    with open(os.path.join(folder, "views.json"), "w") as f:
        f.write('{"cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
