#!/usr/bin/env python3
"""Writes data/testdata/webdataset-000.tar and -001.tar with Python's tarfile, and in
webdataset.json the samples that the package webdataset finds in them. Needs webdataset."""

import io
import json
import os
import tarfile

import webdataset as wds

OUT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "testdata"))
n = 0
names = []
for shard, fmt in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
    name = os.path.join(OUT, "webdataset-%03d.tar" % shard)
    names.append(name)
    with tarfile.open(name, "w", format=fmt) as tar:
        for key in ("000", "dir/001", "dir.with.dots/x", "ünï", "long/" + "name" * 40, "0005"):
            for ext in ("cls", "txt", "seg.png", "JSON"):
                body = ("%s %d %d" % (ext, shard, n)).encode()
                info = tarfile.TarInfo("%s.%s" % (key, ext))
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
            n += 1
samples = [{"key": s["__key__"], "txt": s["txt"].decode()} for s in wds.WebDataset(names, shardshuffle=False)]
with open(os.path.join(OUT, "webdataset.json"), "w") as f:
    json.dump({"samples": samples}, f, indent=0)
    f.write("\n")
