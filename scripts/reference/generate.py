#!/usr/bin/env python3
"""Writes every reference file of the tests. See README.md."""

import flops
import golden
import layers
import ops
import optimizers
import scaler

for part in (ops, layers, optimizers, scaler, golden, flops):
    part.main()
