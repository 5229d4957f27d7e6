"""What the generators share: the number formula, tensors as JSON, cases.

Every reference value is computed by PyTorch in float64 from inputs that are
exact in float32 (or from the 16-bit or integer type that a case is about), and
is written as shortest decimal text with 10 significant digits, so that one file
serves a float32 and a float64 test.

The number formula. Large arrays are not stored: both sides compute them. Element
i of the array with seed s is hash32(s * 0x9E3779B9 + i), all modulo 2**32, where
hash32 is the finaliser of MurmurHash3. Its upper 24 bits, taken as an integer
k, give the float k / 2**23 - 1 in [-1, 1), which is exact in float32.
"""

import json
import math
import os

import numpy as np
import torch

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
HALF = (torch.float16, torch.bfloat16)
DIGEST_OVER = 96  # outputs with more elements are stored as a digest
PROBES = 24

torch.set_num_threads(1)


def bits(seed, n):
    """n hashed 32-bit integers of the stream `seed`."""
    x = (np.uint64(seed) * np.uint64(0x9E3779B9) + np.arange(n, dtype=np.uint64)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(0x85EBCA6B)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(13)
    x = (x * np.uint64(0xC2B2AE35)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    return x


def noise(seed, *shape):
    """The formula's floats in [-1, 1), as float64."""
    k = (bits(seed, math.prod(shape)) >> np.uint64(8)).astype(np.float64)
    return torch.from_numpy((k / 2**23 - 1).reshape(shape))


def labels(seed, classes, *shape):
    """The formula's integers in [0, classes)."""
    k = (bits(seed, math.prod(shape)) >> np.uint64(8)) % np.uint64(classes)
    return torch.from_numpy(k.astype(np.int64).reshape(shape))


class Rand:
    """Inputs: values of two or three decimals, from the formula, so that the
    JSON stays short. All of them are rounded to float32."""

    def __init__(self, seed):
        self.seed = seed

    def __call__(self, *shape, lo=-2.0, hi=2.0):
        self.seed += 1
        u = (noise(self.seed, *shape) + 1) / 2
        return torch.round((lo + (hi - lo) * u) * 1000).div(1000).to(torch.float32)

    def distinct(self, *shape):
        """Like a call, but without two equal values: for maxima, sorts, pools."""
        n = math.prod(shape)
        self.seed += 1
        order = np.argsort(bits(self.seed, n), kind="stable")
        v = (np.arange(n) - n / 2) * (4.0 / max(n, 1))
        out = np.empty(n)
        out[order] = np.round(v, 3)
        return torch.from_numpy(out.reshape(shape)).to(torch.float32)

    def ints(self, lo, hi, *shape, dtype=torch.int64):
        self.seed += 1
        return (labels(self.seed, hi - lo, *shape) + lo).to(dtype)

    def bools(self, *shape):
        return self.ints(0, 2, *shape).to(torch.bool)


class Formula:
    """An input that is too large to store: scale * noise(seed, *shape)."""

    def __init__(self, seed, *shape, scale=1.0):
        self.seed, self.shape, self.scale = seed, shape, scale
        self.tensor = (noise(seed, *shape).to(torch.float32) * np.float32(scale)).to(torch.float32)

    def json(self):
        return {"d": "float32", "s": list(self.shape), "seed": self.seed, "scale": self.scale}


def name_of(dtype):
    return str(dtype).removeprefix("torch.")


def number(v):
    if isinstance(v, (bool, np.bool_)):
        return 1 if v else 0
    if isinstance(v, (int, np.integer)):
        return int(v)
    if math.isnan(v):
        return "nan"
    if math.isinf(v):
        return "inf" if v > 0 else "-inf"
    if v == 0:
        return -0.0 if math.copysign(1, v) < 0 else 0
    v = float("%.10g" % v)
    return int(v) if v == int(v) and abs(v) < 1e15 else v


def exact(v):
    """The shortest text that is the same float32."""
    return number(float(str(np.float32(v)))) if math.isfinite(v) else number(v)


def tensor(t, digest=False, is_input=False):
    """A tensor as JSON; a long one as its length, sum, L2 norm and probes."""
    if t is None:
        return None
    if isinstance(t, Formula):
        return t.json()
    d = {"d": name_of(t.dtype), "s": list(t.shape)}
    flat = t.detach().reshape(-1)
    if digest and flat.numel() > DIGEST_OVER:
        f = flat.to(torch.float64)
        n = f.numel()
        d["sum"] = number(f.sum().item())
        d["norm"] = number(f.norm().item())
        d["probe"] = [number(f[i * n // PROBES].item()) for i in range(PROBES)]
        return d
    put = exact if is_input and t.dtype == torch.float32 else number
    d["v"] = [put(v) for v in flat.tolist()]
    return d


def value(t):
    return t.tensor if isinstance(t, Formula) else t


class File:
    """A reference file: a header and one case a line."""

    def __init__(self, path, about):
        self.path, self.about, self.cases, self.names = path, about, [], set()

    def put(self, c):
        key = (c["op"], c["name"])
        assert key not in self.names, key
        self.names.add(key)
        self.cases.append(c)

    def case(self, op, name, inputs, f, grad=True, single=False, smooth=True, exact=False, native=False, **args):
        """Run f over the inputs and record outputs and gradients.

        grad    record gradients, if an output is differentiable
        single  for float32 only: the values lie at its limits
        smooth  finite differences hold at these inputs
        exact   no tolerance
        native  compute in the inputs' own types instead of float64
        """
        run = []
        for t in map(value, inputs):
            if t is not None and t.dtype == torch.float32 and not native:
                t = t.to(torch.float64)
            run.append(t)
        wrt = [i for i, t in enumerate(run) if t is not None and t.dtype == torch.float64]
        grad = grad and bool(wrt)
        if grad:
            for i in wrt:
                run[i] = run[i].clone().requires_grad_(True)
        out = f(*run)
        if not isinstance(out, (list, tuple)):
            out = [out]
        c = {"op": op, "name": name}
        if args:
            c["args"] = args
        c["in"] = [tensor(t, is_input=True) for t in inputs]
        floats = [i for i, o in enumerate(out) if o.dtype == torch.float64 and o.requires_grad]
        grad = grad and bool(floats)
        if grad:
            y = sum((out[j] * noise(j + 1, *out[j].shape)).sum() for j in floats)
            got = torch.autograd.grad(y, [run[i] for i in wrt], allow_unused=True)
            g = [None] * len(inputs)
            for i, v in zip(wrt, got):
                v = torch.zeros_like(run[i]) if v is None else v
                g[i] = tensor(v.to(torch.float64), digest=True)
                g[i]["d"] = "float32"
        wide = any(isinstance(t, torch.Tensor) and t.dtype == torch.float64 for t in inputs)
        c["out"] = []
        for o in out:
            if o.dtype == torch.float64 and not wide and not native:
                j = tensor(o.to(torch.float32) if single else o, digest=True, is_input=single)
                j["d"] = "float32"
            else:
                j = tensor(o, digest=True)
            c["out"].append(j)
        if grad:
            c["grad"] = g
            if not smooth:
                c["kink"] = True
        if single:
            c["single"] = True
        if exact:
            c["exact"] = True
        self.put(c)

    def write(self):
        path = os.path.join(ROOT, self.path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as w:
            w.write('{"about": %s,\n"torch": %s,\n"cases": [\n' % (json.dumps(self.about), json.dumps(torch.__version__.split("+")[0])))
            w.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in self.cases))
            w.write("\n]}\n")
        print("%-44s %5d cases %8d bytes" % (self.path, len(self.cases), os.path.getsize(path)))
