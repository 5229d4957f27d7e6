#!/usr/bin/env python3
"""Writes data/testdata/images: small pictures in every format and colour model that
package data reads, and in expected.json the RGB bytes that Pillow makes of each,
ImageOps.exif_transpose(image).convert("RGB").

Needs pillow. What was written last came from the version that expected.json names.
"""

import base64
import io
import json
import os
import struct
import zlib

import PIL
from PIL import Image, ImageOps

OUT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "testdata", "images"))
W, H = 13, 9


def rgb(w=W, h=H):
    """A picture of slow colour gradients, so that codecs which lose little lose little of it."""
    im = Image.new("RGB", (w, h))
    im.putdata([(40 + x * 160 // w, 60 + y * 150 // h, 200 - (x + y) * 120 // (w + h)) for y in range(h) for x in range(w)])
    return im


def alpha(w=W, h=H):
    im = Image.new("L", (w, h))
    im.putdata([(x * 37 + y * 11) % 256 for y in range(h) for x in range(w)])
    return im


def png(ihdr, rows, *chunks):
    """A PNG that Pillow does not write."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *ihdr))
    for kind, body in chunks:
        out += chunk(kind, body)
    return out + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows))) + chunk(b"IEND", b"")


def saved(im, fmt, **how):
    b = io.BytesIO()
    im.save(b, fmt, **how)
    return b.getvalue()


def oriented(o):
    exif = Image.Exif()
    exif[0x0112] = o
    return exif


files = {}
colour, a = rgb(), alpha()
rgba = colour.copy()
rgba.putalpha(a)
grey = colour.convert("L")
greyalpha = Image.merge("LA", (grey, a))
palette = colour.quantize(16)

files["grey.png"] = saved(grey, "PNG")
files["bilevel.png"] = saved(grey.convert("1"), "PNG")
files["greyalpha.png"] = saved(greyalpha, "PNG")
files["rgb.png"] = saved(colour, "PNG")
files["rgba.png"] = saved(rgba, "PNG")
files["palette.png"] = saved(palette, "PNG")
files["palette-transparent.png"] = saved(palette, "PNG", transparency=bytes([0, 128, 255, 7]))
files["rgb-transparent.png"] = saved(colour, "PNG", transparency=colour.getpixel((3, 2)))
files["exif6.png"] = saved(colour, "PNG", exif=oriented(6))
files["rgb16.png"] = png((W, H, 16, 2, 0, 0, 0), [b"".join(struct.pack(">HHH", 4000 * x, 6500 * y, 60000 - 3000 * x) for x in range(W)) for y in range(H)])
files["grey16.png"] = png((W, H, 16, 0, 0, 0, 0), [b"".join(struct.pack(">H", 4000 * x + 100 * y) for x in range(W)) for y in range(H)])
files["palette.gif"] = saved(palette, "GIF")
files["transparent.gif"] = saved(palette, "GIF", transparency=3)
files["grey.gif"] = saved(grey, "GIF")
files["animated.gif"] = saved(palette, "GIF", save_all=True, append_images=[palette.rotate(180)])
# One frame of 5x4 pixels at (4, 3) of a screen of 13x9.
small = bytearray(saved(palette.crop((0, 0, 5, 4)), "GIF"))
at = small.index(b",\0\0\0\0\5\0\4\0")
small[at + 1 : at + 5] = struct.pack("<HH", 4, 3)
small[6:10] = struct.pack("<HH", W, H)
files["inset.gif"] = bytes(small)
for size in ((13, 9), (16, 12), (1, 1), (2, 7), (33, 18)):
    files["lossy%dx%d.webp" % size] = saved(rgb(*size), "WEBP", quality=80)
files["lossy-alpha.webp"] = saved(rgba, "WEBP", quality=80, exact=True)
files["lossless.webp"] = saved(colour, "WEBP", lossless=True)
files["lossless-alpha.webp"] = saved(rgba, "WEBP", lossless=True, exact=True)
files["exif3.webp"] = saved(colour, "WEBP", lossless=True, exif=oriented(3))
big = rgb(24, 16)
files["grey.jpg"] = saved(big.convert("L"), "JPEG", quality=95)
files["444.jpg"] = saved(big, "JPEG", quality=95, subsampling=0)
files["422.jpg"] = saved(big, "JPEG", quality=95, subsampling=1)
files["420.jpg"] = saved(big, "JPEG", quality=95, subsampling=2)
files["progressive.jpg"] = saved(big, "JPEG", quality=95, progressive=True)
files["cmyk.jpg"] = saved(big.convert("CMYK"), "JPEG", quality=95)
for o in range(1, 9):
    files["exif%d.jpg" % o] = saved(big.crop((0, 0, 24, 13)), "JPEG", quality=95, subsampling=0, exif=oriented(o))

expected = {}
os.makedirs(OUT, exist_ok=True)
for name, content in files.items():
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(content)
    im = Image.open(io.BytesIO(content))
    mode = im.mode
    im = ImageOps.exif_transpose(im).convert("RGB")
    expected[name] = {"mode": mode, "width": im.width, "height": im.height, "rgb": base64.b64encode(im.tobytes()).decode()}
with open(os.path.join(OUT, "expected.json"), "w") as f:
    json.dump({"pillow": PIL.__version__, "files": expected}, f, indent=0, sort_keys=True)
    f.write("\n")
