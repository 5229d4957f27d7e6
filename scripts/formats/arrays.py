#!/usr/bin/env python3
"""Writes format/npy/testdata: arrays by NumPy in every element type, byte order, order
of axes and version of the format, and in expected.json the bytes that they should be
read as: little-endian, row-major, widened where Sinter lacks the type. Needs numpy."""

import base64
import json
import os

import numpy as np
from numpy.lib import format as npformat

OUT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "format", "npy", "testdata"))
READ_AS = {"i2": "int32", "u2": "int32", "i4": "int32", "u4": "int64", "u8": "int64", "i8": "int64", "f2": "float16", "f4": "float32", "f8": "float64", "b1": "bool", "u1": "uint8", "i1": "int8"}
expected = {}


def note(name, a, read_as=None):
    to = read_as or READ_AS[a.dtype.str[1:]]
    le = np.ascontiguousarray(a if to == "bfloat16" else a.astype(np.dtype(to).newbyteorder("<")))
    expected[name] = {"dtype": to, "shape": list(a.shape), "data": base64.b64encode(le.tobytes()).decode()}


def save(name, a, version=None, read_as=None):
    with open(os.path.join(OUT, name), "wb") as f:
        if version:
            npformat.write_array(f, a, version=version)
        else:
            np.save(f, a)
    note(name, a, read_as)


os.makedirs(OUT, exist_ok=True)
base = np.arange(24).reshape(2, 3, 4) - 5
for kind in READ_AS:
    a = base if kind[0] in "if" else base + 5
    if kind[0] == "f":
        a = a * 0.3125
    if kind == "b1":
        a = a % 3 == 1
    for order in "<>" if kind[1] != "1" else "|":
        save(("big-" if order == ">" else "") + kind + ".npy", a.astype(order + kind))
save("fortran.npy", np.asfortranarray(base.astype("<i4")))
save("fortran-big.npy", np.asfortranarray(base.astype(">f8")))
save("version2.npy", base.astype("<f4"), (2, 0))
save("version3.npy", base.astype("<f4"), (3, 0))
save("scalar.npy", np.array(2.5, "<f4"))
save("vector.npy", np.arange(5, dtype="<i8"))
save("empty.npy", np.zeros((0, 3), "<f4"))
save("bfloat16.npy", np.array([[0x3F80, 0xC000], [0x7F80, 1]], "<u2").view("V2"), read_as="bfloat16")
arrays = {"x": base.astype("<f4"), "y": np.array([1, 0], "<i8"), "flag": np.array([True])}
np.savez(os.path.join(OUT, "stored.npz"), **arrays)
np.savez_compressed(os.path.join(OUT, "deflated.npz"), **arrays)
for name, a in arrays.items():
    for f in ("stored", "deflated"):
        note(f + ".npz:" + name, a)
np.save(os.path.join(OUT, "object.npy"), np.array([{}], object))
np.save(os.path.join(OUT, "structured.npy"), np.zeros(2, [("a", "<f4"), ("b", "<i8")]))
np.save(os.path.join(OUT, "complex.npy"), np.zeros(2, "<c8"))
np.save(os.path.join(OUT, "overflow.npy"), np.array([1, 2**63], "<u8"))
with open(os.path.join(OUT, "expected.json"), "w") as f:
    json.dump({"numpy": np.__version__, "arrays": expected}, f, indent=0, sort_keys=True)
    f.write("\n")
