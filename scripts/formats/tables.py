#!/usr/bin/env python3
"""Writes data/parquet/testdata: tables by pyarrow in several types, encodings and
compressions, and the same values as CSV. Needs pyarrow."""

import datetime
import decimal
import os

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

OUT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "parquet", "testdata"))
N = 200
D = decimal.Decimal
table = pa.table(
    {
        "i8": pa.array([i % 100 - 50 for i in range(N)], pa.int8()),
        "u32": pa.array([4294967295 - i for i in range(N)], pa.uint32()),
        "u64": pa.array([18446744073709551615 - i for i in range(N)], pa.uint64()),
        "i64": pa.array([None if i % 7 == 3 else i * 10**12 for i in range(N)], pa.int64()),
        "f32": pa.array([i * 0.1 for i in range(N)], pa.float32()),
        "f64": pa.array([None if i % 11 == 5 else i / 3 for i in range(N)], pa.float64()),
        "flag": pa.array([i % 3 == 0 for i in range(N)]),
        "dec": pa.array([D(i - 100) / D(100) for i in range(N)], pa.decimal128(20, 2)),
        "small": pa.array([D(i) / D(1000) for i in range(N)], pa.decimal128(5, 3)),
        "text": pa.array(["a b", "c,d", "ünï"][i % 3] + str(i % 10) for i in range(N)),
        "label": pa.array([["no", "yes"][i * 7 % 5 % 2] for i in range(N)]),
    }
)
os.makedirs(OUT, exist_ok=True)
pyarrow.csv.write_csv(table, os.path.join(OUT, "table.csv"))
for name, how in {
    "plain": {"compression": "none", "use_dictionary": False, "data_page_version": "1.0"},
    "snappy": {"compression": "snappy"},
    "gzip-v2": {"compression": "gzip", "data_page_version": "2.0"},
    "zstd": {"compression": "zstd", "store_decimal_as_integer": True},
    "lz4": {"compression": "lz4"},
    "brotli": {"compression": "brotli"},
    "groups": {"row_group_size": 37},
}.items():
    pq.write_table(table, os.path.join(OUT, name + ".parquet"), **how)
nested = pa.table({"id": [1, 2], "s": [{"a": 1.5, "b": "x"}, {"a": 2.5, "b": None}], "list": [[1, 2], []], "day": [datetime.date(1970, 1, 3)] * 2})
pq.write_table(nested, os.path.join(OUT, "nested.parquet"))
