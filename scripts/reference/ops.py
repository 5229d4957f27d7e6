"""Reference values of the root package's operations: testdata/ops/*.json."""

import torch
import torch.nn.functional as F

from common import File, Formula, Rand, HALF, noise

NAN, INF = float("nan"), float("inf")
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 3.7, -3.7, 1e-3, -1e-3, 1e-8, 1e-30, 1e-40, 10.0, -10.0,
           20.0, -20.0, 88.0, -87.0, 89.0, -104.0, 100.0, 1000.0, -1000.0, 8388609.0, 1e10, 3e38, -3e38, INF, -INF, NAN]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTS = [torch.uint8, torch.int8, torch.int32, torch.int64]


def f32(*v):
    return torch.tensor(v, dtype=torch.float32)


UNARY = {
    # name: (function, domain of the gradient case)
    "neg": (torch.neg, (-2, 2)), "abs": (torch.abs, (-2, 2)), "sign": (torch.sign, (-2, 2)),
    "exp": (torch.exp, (-3, 3)), "expm1": (torch.expm1, (-1, 1)), "log": (torch.log, (0.05, 4)),
    "log1p": (torch.log1p, (-0.9, 3)), "sqrt": (torch.sqrt, (0.05, 4)), "rsqrt": (torch.rsqrt, (0.05, 4)),
    "sin": (torch.sin, (-6, 6)), "cos": (torch.cos, (-6, 6)), "tanh": (torch.tanh, (-3, 3)),
    "sigmoid": (torch.sigmoid, (-5, 5)), "erf": (torch.erf, (-3, 3)), "floor": (torch.floor, (-4, 4)),
    "ceil": (torch.ceil, (-4, 4)), "round": (torch.round, (-4, 4)), "square": (torch.square, (-2, 2)),
    "reciprocal": (torch.reciprocal, (0.2, 3)),
}

BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "pow": torch.pow, "rem": torch.fmod,
    "maximum": torch.maximum, "minimum": torch.minimum,
}
COMPARE = {"eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge}


def elementwise():
    f = File("testdata/ops/elementwise.json", "elementwise operations: values, special values, broadcasting, integers, gradients")
    r = Rand(100)
    for op, (fn, (lo, hi)) in UNARY.items():
        f.case(op, "random", [r(3, 7, lo=lo, hi=hi)], fn)
        x = f32(*SPECIAL)
        if op in ("sin", "cos"):  # beyond 1e10 float32 has lost the phase
            x = x[x.abs().le(1e7) | ~x.isfinite()]
        f.case(op, "special", [x], fn, grad=False, single=True)
        f.case(op, "scalar", [r(lo=max(lo, 0.3), hi=hi)], fn)
        f.case(op, "empty", [torch.zeros(0, 3)], fn, grad=False)
        f.case(op, "long", [Formula(7, 1031) if lo < 0 and op != "log1p" else r(67, lo=lo, hi=hi)], fn, smooth=op not in ("abs", "sign"))
    f.case("abs", "at_zero", [f32(0, -1, 2)], torch.abs, smooth=False)
    f.case("sqrt", "at_zero", [f32(0, 1)], torch.sqrt, smooth=False)
    for op in ("neg", "abs", "sign", "square"):
        f.case(op, "int32", [torch.tensor([-3, 0, 5, 2147483647], dtype=torch.int32)], UNARY[op][0])
        f.case(op, "int64", [torch.tensor([-3, 0, 5, -(1 << 40)])], UNARY[op][0])
        f.case(op, "int8", [torch.tensor([-3, 0, 5, 127, -128], dtype=torch.int8)], UNARY[op][0])
        f.case(op, "uint8", [torch.tensor([0, 5, 200, 255], dtype=torch.uint8)], UNARY[op][0])
    for op in ("exp", "sqrt", "sigmoid", "tanh", "sin", "log"):  # integers become float32
        f.case(op, "int64", [torch.tensor([0, 1, 2, 5])], lambda x, op=op: UNARY[op][0](x), native=True)

    f.case("is_nan", "special", [f32(*SPECIAL)], torch.isnan)
    f.case("is_finite", "special", [f32(*SPECIAL)], torch.isfinite)
    f.case("not", "bool", [torch.tensor([True, False])], torch.logical_not)
    for d in INTS:
        f.case("not", str(d)[6:], [torch.tensor([0, 1, 5, 100], dtype=d)], torch.bitwise_not)

    shapes = {"same": ((3, 5), (3, 5)), "row": ((3, 5), (5,)), "column": ((3, 5), (3, 1)), "both": ((2, 1, 4), (3, 1)),
              "scalar_left": ((), (2, 3)), "scalar_right": ((2, 3), ()), "one": ((1,), (4,)), "rank4": ((2, 1, 3, 1), (2, 1, 5))}
    for op, fn in BINARY.items():
        for name, (a, b) in shapes.items():
            lo = 0.3 if op == "pow" else -2
            x, y = r(*a, lo=lo), r(*b)
            if op in ("div", "rem"):
                y = torch.where(y.abs() < 0.3, torch.full_like(y, 0.7), y)
            f.case(op, name, [x, y], fn)
        f.case(op, "empty", [torch.zeros(0, 3), torch.ones(1, 3)], fn, grad=False)
        f.case(op, "long", [Formula(11, 3, 347), r(347, lo=0.5)], (lambda a, b: torch.pow(a, b)) if op == "pow" else fn, grad=op != "pow", smooth=False)
        s = f32(0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 0.5, 2.5, 1e20, INF, -INF, NAN)
        f.case(op, "special", [s.reshape(-1, 1), s], fn, grad=False, single=True)
    for op, fn in COMPARE.items():
        s = f32(0.0, -0.0, 1.0, -1.0, 2.5, INF, -INF, NAN)
        f.case(op, "special", [s.reshape(-1, 1), s], fn)
        f.case(op, "int64", [r.ints(-2, 3, 3, 4), r.ints(-2, 3, 4)], fn)
        f.case(op, "large_int64", [torch.tensor([1 << 53, 1 << 62]), torch.tensor([(1 << 53) + 1, (1 << 62) - 1])], fn)
        f.case(op, "uint8", [torch.tensor([0, 200, 255], dtype=torch.uint8), torch.tensor([1, 200, 127], dtype=torch.uint8)], fn)
        f.case(op, "bool", [torch.tensor([True, False, True, False]), torch.tensor([True, True, False, False])], fn)
        f.case(op, "mixed", [r.ints(-2, 3, 5), r(5)], fn)
        f.case(op + "_scalar", "float", [f32(-1, 0.5, 0.25, 2, NAN)], lambda x, fn=fn: fn(x, 0.5), v=0.5)
        f.case(op + "_scalar", "int64", [torch.tensor([-1, 0, 1, 2])], lambda x, fn=fn: fn(x, 1), v=1)
    f.case("maximum", "ties", [f32(1, 2, 3), f32(1, 3, 2)], torch.maximum, smooth=False)
    f.case("minimum", "ties", [f32(1, 2, 3), f32(1, 3, 2)], torch.minimum, smooth=False)
    f.case("pow", "zero_base", [f32(0, 0, 0), f32(1, 2, 3)], torch.pow, smooth=False)
    f.case("pow", "negative_base", [f32(-2, -1.5, -3), f32(2, 3, -1)], torch.pow, grad=False)

    a, b = [-7, 7, -8, 5, 127, -128, 0, 3], [2, -2, 3, 5, 1, 1, 4, -5]
    for d in INTS:
        x = torch.tensor(a if d != torch.uint8 else [7, 9, 250, 5, 255, 128, 0, 3], dtype=d)
        y = torch.tensor(b if d != torch.uint8 else [2, 2, 30, 5, 1, 200, 4, 5], dtype=d)
        n = str(d)[6:]
        for op, fn in BINARY.items():
            if op == "pow":
                f.case(op, n, [x, torch.tensor([0, 1, 2, 3, 1, 2, 5, 3], dtype=d)], fn)
            else:
                f.case(op, n, [x, y], fn, native=True)  # division gives float32
        for op, fn in {"and": torch.bitwise_and, "or": torch.bitwise_or, "xor": torch.bitwise_xor}.items():
            f.case(op, n, [x, y], fn)
        s = torch.tensor([0, 1, 2, 3, 1, 2, 0, 3], dtype=d)
        f.case("shl", n, [x, s], torch.bitwise_left_shift)
        f.case("shr", n, [x, s], torch.bitwise_right_shift)
    f.case("mul", "int32_wraps", [torch.tensor([1 << 20, 65537], dtype=torch.int32), torch.tensor([1 << 12, 65537], dtype=torch.int32)], torch.mul)
    f.case("add", "int64_wraps", [torch.tensor([(1 << 63) - 1]), torch.tensor([1])], torch.add)
    p, q = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    for op, fn in {"and": torch.logical_and, "or": torch.logical_or, "xor": torch.logical_xor, "maximum": torch.maximum, "add": torch.add, "mul": torch.mul}.items():
        f.case(op, "bool", [p, q], fn)

    for op, fn in {"add_scalar": torch.add, "sub_scalar": torch.sub, "mul_scalar": torch.mul, "div_scalar": torch.div}.items():
        f.case(op, "float", [r(3, 4)], lambda x, fn=fn: fn(x, 2.5), v=2.5)
        for d in HALF:
            f.case(op, str(d)[6:], [r(5).to(d)], lambda x, fn=fn: fn(x, 2.5), native=True, v=2.5)
    for v in (2, 3, 0.5, -1, 0, 1, 2.5, -0.5, 4):
        f.case("pow_scalar", "positive_%s" % v, [r(2, 5, lo=0.2)], lambda x: torch.pow(x, v), v=v)
    for v in (2, 3, -1, 0, 1):
        f.case("pow_scalar", "any_sign_%s" % v, [f32(-2, -0.5, 0.75, 3)], lambda x: torch.pow(x, v), v=v)
    f.case("pow_scalar", "zero_squared", [f32(0, 1, -1)], lambda x: torch.pow(x, 2), v=2)

    f.case("clip", "both", [r(4, 5)], lambda x: x.clamp(-0.77777, 1.11111), lo=-0.77777, hi=1.11111)
    f.case("clip", "at_bounds", [f32(-1, 0, 1, -2, 2)], lambda x: x.clamp(-1, 1), smooth=False, lo=-1, hi=1)
    f.case("clip", "special", [f32(NAN, INF, -INF, 0.5)], lambda x: x.clamp(-1, 1), grad=False, lo=-1, hi=1)
    f.case("where", "same", [r.bools(3, 4), r(3, 4), r(3, 4)], torch.where)
    f.case("where", "broadcast", [r.bools(3, 1), r(4), r(2, 1, 1)], torch.where)
    f.case("where", "nan_unused", [torch.tensor([True, False]), f32(1, NAN), f32(NAN, 2)], torch.where, smooth=False)
    f.case("where", "int64", [r.bools(4), r.ints(0, 9, 4), r.ints(0, 9, 4)], torch.where)
    f.case("where", "promotes", [r.bools(4), r.ints(0, 9, 4), r(4)], torch.where, smooth=False)

    # A log of the chain rule through a fused expression.
    f.case("gelu_by_hand", "random", [r(4, 9)], lambda x: 0.5 * x * (1 + torch.erf(x * 0.7071067811865476)))
    f.case("mean_square_by_hand", "random", [r(4, 9), r(9)], lambda x, y: ((x - y) * (x - y)).mean(1).sqrt())
    f.write()


def dtypes():
    f = File("testdata/ops/dtype.json", "element types: promotion, conversion, 16-bit rounding")
    r = Rand(200)
    every = [torch.bool] + INTS + FLOATS
    for a in every:
        for b in every:
            x, y = torch.tensor([1, 0, 1]).to(a), torch.tensor([1, 1, 0]).to(b)
            # PyTorch gives int16 here, which Sinter does not have: it gives int32.
            def out(t):
                return t.to(torch.int32) if t.dtype == torch.int16 else t
            f.case("add", "%s+%s" % (str(a)[6:], str(b)[6:]), [x, y], lambda p, q: out(torch.add(p, q)), native=True, grad=False, exact=True)
            f.case("div", "%s/%s" % (str(a)[6:], str(b)[6:]), [x, torch.ones(3).to(b)], lambda p, q: out(torch.div(p, q)), native=True, grad=False, exact=True)
    f.case("mul", "int_tensor_times_float_scalar_tensor", [torch.tensor([1, 2]), torch.tensor(2.5)], torch.mul, native=True, grad=False)
    for a in every:
        for b in every:
            if a.is_floating_point:
                v = [0.0, 1.0, 2.75, 100.5]
                if b not in (torch.uint8, torch.bool):
                    v += [-1.0, -2.75, -100.5]
                if b.is_floating_point or b == torch.bool:
                    v += [NAN, INF, -INF, 1e-3, 65504.0]
                x = torch.tensor(v, dtype=torch.float64).to(a)
            elif a == torch.bool:
                x = torch.tensor([True, False])
            else:
                x = torch.tensor([0, 1, 2, 100, 127] + ([200, 255] if a == torch.uint8 else [-1, -128]), dtype=a)
                if a in (torch.int32, torch.int64):
                    x = torch.cat([x, torch.tensor([300, 65535, 16777217, -70000], dtype=a)])
            f.case("to", "%s_to_%s" % (str(a)[6:], str(b)[6:]), [x], lambda t: t.to(b), native=True, grad=False, exact=True, dtype=str(b)[6:])
    f.case("cast_there_and_back", "random", [r(5)], lambda x: x.exp())
    f.case("bitcast", "float32_to_int32", [f32(0, -0.0, 1, -2, INF, 1e-40)], lambda x: x.view(torch.int32), native=True, grad=False, dtype="int32")
    f.case("bitcast", "int32_to_float32", [torch.tensor([0, 0x3F800000, -0x40000000, 0x7F800000], dtype=torch.int32)],
           lambda x: x.view(torch.float32), native=True, grad=False, dtype="float32")
    f.case("bitcast", "int64_to_float64", [torch.tensor([0, 0x3FF0000000000000, -0x4000000000000000])], lambda x: x.view(torch.float64), native=True, dtype="float64")
    f.case("bitcast", "uint8_to_int8", [torch.tensor([0, 127, 128, 255], dtype=torch.uint8)], lambda x: x.view(torch.int8), native=True, dtype="int8")

    for d in HALF:
        n = str(d)[6:]
        x, y = r(6, 7).to(d), r(6, 7, lo=0.1, hi=3).to(d)
        for op in ("add", "sub", "mul", "div", "maximum", "minimum"):
            f.case(op, n, [x, y], BINARY[op], native=True, grad=False, exact=True)
        f.case("pow", n, [y, x], torch.pow, native=True, grad=False)
        f.case("rem", n, [x, y], torch.fmod, native=True, grad=False, exact=True)
        for op in UNARY:
            t = y if UNARY[op][1][0] >= 0 else x
            if op == "log1p":
                t = y
            f.case(op, n, [t], UNARY[op][0], native=True, grad=False,
                   exact=op in ("neg", "abs", "sign", "sqrt", "floor", "ceil", "round", "square", "reciprocal"))
        big = torch.tensor([60000.0 if d == torch.float16 else 3e38], dtype=d)
        f.case("add", n + "_overflows", [big, big], torch.add, native=True, grad=False, exact=True)
        f.case("mul", n + "_subnormal", [torch.tensor([2.0**-10, 3 * 2.0**-12], dtype=d), torch.tensor([2.0**-12, 2.0**-11], dtype=d)],
               torch.mul, native=True, grad=False, exact=True)
        # Each operation rounds: (x + y) - x is not y.
        f.case("add_sub", n, [x, y], lambda p, q: (p + q) - p, native=True, grad=False, exact=True)
        f.case("sum", n, [x], lambda t: t.float().sum(1).to(d), native=True, grad=False, axes=[1])
        f.case("mean", n, [x], lambda t: t.float().mean(0).to(d), native=True, grad=False, axes=[0])
        f.case("max", n, [x], lambda t: t.amax(1), native=True, grad=False, axes=[1], exact=True)
        f.case("matmul", n, [r(5, 6).to(d), r(6, 4).to(d)], lambda p, q: (p.float() @ q.float()).to(d), native=True, grad=False)
        f.case("softmax", n, [x], lambda t: t.float().softmax(-1).to(d), native=True, grad=False, axis=-1)
    for d in (torch.float64,):
        x = torch.tensor([0.1, 1.0 / 3.0, -2.2, 1e-200, 1e200], dtype=d)
        for op in ("exp", "tanh", "sigmoid", "erf", "sin", "expm1"):
            f.case(op, "float64", [x[:3]], UNARY[op][0])
        f.case("mul", "float64", [x, torch.tensor([10.0, 3.0, 0.1, 1e-50, 1e50], dtype=d)], torch.mul)
        f.case("add", "float64", [x, torch.tensor([0.2, 3.0, 0.1, 1e-201, 1e184], dtype=d)], torch.add)
    f.write()


def shapes():
    f = File("testdata/ops/shape.json", "layout operations")
    r = Rand(300)
    x = r(2, 3, 4)
    i = r.ints(-9, 9, 2, 3, 4)
    for n, t in (("float", x), ("int64", i), ("bool", i > 0), ("uint8", (i + 9).to(torch.uint8)), ("float16", x.half()), ("int32", i.int())):
        kw = {"native": True, "grad": False, "exact": True} if n != "float" else {}
        f.case("reshape", n, [t], lambda t: t.reshape(4, -1), shape=[4, -1], **kw)
        f.case("permute", n, [t], lambda t: t.permute(2, 0, 1).contiguous(), axes=[2, 0, 1], **kw)
        f.case("slice", n, [t], lambda t: t[:, 1:3], axis=1, start=1, stop=3, **kw)
        f.case("flip", n, [t], lambda t: t.flip(0, 2), axes=[0, 2], **kw)
        f.case("pad", n, [t], lambda t: F.pad(t, (1, 0, 0, 2, 1, 1), value=0), lo=[1, 0, 1], hi=[1, 2, 0], value=0, **kw)
        f.case("cat", n, [t, t[:, :1]], lambda a, b: torch.cat([a, b], 1), axis=1, **kw)
        f.case("broadcast_to", n, [t[:, :1]], lambda t: t.broadcast_to(5, 2, 3, 4).contiguous(), shape=[5, 2, 3, 4], **kw)
        f.case("index", n, [t], lambda t: t[:, -1], axis=1, i=-1, **kw)
    f.case("reshape", "to_scalar", [r(1, 1)], lambda t: t.reshape(()), shape=[])
    f.case("reshape", "of_transposed", [x], lambda t: t.transpose(1, 2).reshape(2, 12), before=[0, 2, 1], shape=[2, 12])
    f.case("reshape", "empty", [torch.zeros(0, 4)], lambda t: t.reshape(2, 0, 2), grad=False, shape=[2, 0, 2])
    for s in (0, 1, 2, -2):
        f.case("flatten", "from_%d" % s, [x], lambda t: t.flatten(s), start=s)
    f.case("transpose", "0_2", [x], lambda t: t.transpose(0, 2), a=0, b=2)
    f.case("transpose", "-1_-2", [x], lambda t: t.transpose(-1, -2), a=-1, b=-2)
    f.case("transpose", "large", [Formula(3, 67, 131)], lambda t: t.transpose(0, 1), a=0, b=1)
    f.case("t", "rank2", [r(3, 5)], lambda t: t.T)
    f.case("t", "rank3", [x], lambda t: t.mT)
    f.case("permute", "rank5", [r(2, 3, 1, 2, 2)], lambda t: t.permute(4, 2, 0, 3, 1), axes=[4, 2, 0, 3, 1])
    f.case("broadcast_to", "scalar", [r()], lambda t: t.broadcast_to(2, 3), shape=[2, 3])
    f.case("broadcast_to", "inner", [r(2, 1)], lambda t: t.broadcast_to(2, 4), shape=[2, 4])
    y = r(6, 5)
    for name, a, b in (("head", 0, 2), ("tail", -2, 6), ("middle", 1, -1), ("beyond", 4, 100), ("empty", 3, 3)):
        f.case("slice", name, [y], lambda t: t[a:b], grad=name != "empty", axis=0, start=a, stop=b)
    for a, b, s in ((0, 6, 2), (1, 6, 2), (0, 6, 4), (1, 5, 3), (-5, -1, 2)):
        f.case("slice_step", "%d_%d_%d" % (a, b, s), [y], lambda t: t[a:b:s], axis=0, start=a, stop=b, step=s)
    f.case("slice_step", "last_axis", [x], lambda t: t[..., 1::2], axis=-1, start=1, stop=4, step=2)
    f.case("slice_of_slice", "random", [y], lambda t: t[1:6:2][1:], grad=True)
    f.case("index", "first", [y], lambda t: t[0], axis=0, i=0)
    f.case("squeeze", "all", [r(1, 3, 1, 2)], lambda t: t.squeeze(), axes=[])
    f.case("squeeze", "one", [r(1, 3, 1, 2)], lambda t: t.squeeze(2), axes=[2])
    f.case("squeeze", "two", [r(1, 3, 1, 2)], lambda t: t.squeeze((0, -2)), axes=[0, -2])
    for a in (0, 1, 2, -1):
        f.case("unsqueeze", "axis_%d" % a, [r(3, 2)], lambda t: t.unsqueeze(a), axis=a)
    f.case("flip", "one", [y], lambda t: t.flip(-1), axes=[-1])
    f.case("pad", "value", [y], lambda t: F.pad(t, (0, 3, 1, 0), value=-1.5), lo=[1, 0], hi=[0, 3], value=-1.5)
    f.case("pad", "vector", [r(4)], lambda t: F.pad(t, (2, 1), value=7), lo=[2], hi=[1], value=7)
    f.case("repeat", "tile", [r(2, 3)], lambda t: t.repeat(1, 3), axis=1, n=3)
    f.case("repeat", "tile_first", [r(2, 3)], lambda t: t.repeat(2, 1), axis=0, n=2)
    f.case("cat", "three", [r(2, 3), r(1, 3), r(4, 3)], lambda *t: torch.cat(t, 0), axis=0)
    f.case("cat", "negative_axis", [r(2, 3), r(2, 1)], lambda *t: torch.cat(t, -1), axis=-1)
    f.case("cat", "twice_the_same", [r(2, 3)], lambda t: torch.cat([t, t], 0), axis=0, twice=True)
    f.case("cat", "with_empty", [r(2, 3), torch.zeros(0, 3)], lambda *t: torch.cat(t, 0), grad=False, axis=0)
    f.case("cat", "promotes", [r.ints(0, 5, 2), r(2)], lambda *t: torch.cat(t, 0), smooth=False, axis=0)
    for a in (0, 1, -1):
        f.case("stack", "axis_%d" % a, [r(2, 3), r(2, 3)], lambda *t: torch.stack(t, a), axis=a)
    f.case("split", "uneven", [y], lambda t: list(t.split([1, 3, 2])), axis=0, sizes=[1, 3, 2])
    f.case("split", "last_axis", [y], lambda t: list(t.split([2, 3], -1)), axis=-1, sizes=[2, 3])
    f.case("chunk", "even", [y], lambda t: list(t.chunk(3, 0)), n=3, axis=0)
    f.case("chunk", "uneven", [y], lambda t: list(t.chunk(2, 1)), n=2, axis=1)
    for k in (0, 1, -1, 3):
        f.case("tril", "k_%d" % k, [r(4, 5)], lambda t: t.tril(k), k=k)
        f.case("triu", "k_%d" % k, [r(4, 5)], lambda t: t.triu(k), k=k)
    f.case("tril", "batched", [x], lambda t: t.tril(), k=0)
    f.case("arange", "ints", [], lambda: torch.arange(2, 11, 3), dtype="int64", start=2, stop=11, step=3)
    f.case("arange", "floats", [], lambda: torch.arange(0, 1, 0.25, dtype=torch.float32), dtype="float32", start=0, stop=1, step=0.25)
    f.case("arange", "down", [], lambda: torch.arange(5, 0, -2, dtype=torch.float32), dtype="float32", start=5, stop=0, step=-2)
    f.case("linspace", "five", [], lambda: torch.linspace(-1, 2, 5), dtype="float32", start=-1, stop=2, n=5)
    f.case("linspace", "one", [], lambda: torch.linspace(3, 4, 1), dtype="float32", start=3, stop=4, n=1)
    f.case("eye", "three", [], lambda: torch.eye(3), dtype="float32", n=3)
    f.case("full", "int32", [], lambda: torch.full((2, 2), 7, dtype=torch.int32), dtype="int32", shape=[2, 2], v=7)
    f.case("zeros", "bool", [], lambda: torch.zeros(3, dtype=torch.bool), dtype="bool", shape=[3])
    f.case("ones", "float64", [], lambda: torch.ones(2, 0, 3, dtype=torch.float64), dtype="float64", shape=[2, 0, 3], native=True)
    # Views of views, as a fuser has to fold them.
    f.case("view_chain", "random", [x], lambda t: t.permute(2, 1, 0)[1:].flip(1).reshape(3, 6)[:, ::2] * 2)
    f.write()


def reductions():
    f = File("testdata/ops/reduce.json", "reductions, scans over an axis, sorting")
    r = Rand(400)
    axes = {"all": [], "0": [0], "1": [1], "last": [-1], "0_2": [0, 2], "1_2": [1, 2], "every": [0, 1, 2]}

    def ax(t, a):
        return tuple(range(t.dim())) if not a else tuple(a)

    def prod(t, a):
        for d in sorted((d % t.dim() for d in ax(t, a)), reverse=True):
            t = t.prod(d)
        return t

    for n, a in axes.items():
        x = r.distinct(2, 3, 4)
        f.case("sum", n, [x], lambda t: t.sum(ax(t, a)), axes=a)
        f.case("mean", n, [x], lambda t: t.mean(ax(t, a)), axes=a)
        f.case("max", n, [x], lambda t: t.amax(ax(t, a)), axes=a)
        f.case("min", n, [x], lambda t: t.amin(ax(t, a)), axes=a)
        f.case("norm", n, [x], lambda t: torch.linalg.vector_norm(t, dim=ax(t, a)), axes=a)
        f.case("logsumexp", n, [x], lambda t: torch.logsumexp(t, ax(t, a)), axes=a)
        f.case("prod", n, [r(2, 3, 4, lo=0.5, hi=1.5)], lambda t: prod(t, a), axes=a)
        for c in (0, 1):
            f.case("var", "%s_c%d" % (n, c), [x], lambda t: t.var(ax(t, a), correction=c), correction=c, axes=a)
            f.case("std", "%s_c%d" % (n, c), [x], lambda t: t.std(ax(t, a), correction=c), correction=c, axes=a)
        f.case("sum_keep", n, [x], lambda t: t.sum(ax(t, a), keepdim=True), axes=a)
        f.case("mean_keep", n, [x], lambda t: t.mean(ax(t, a), keepdim=True), axes=a)
        f.case("max_keep", n, [x], lambda t: t.amax(ax(t, a), keepdim=True), axes=a)
        f.case("var_keep", n, [x], lambda t: t.var(ax(t, a), correction=1, keepdim=True), correction=1, axes=a)
        b = r.ints(0, 5, 2, 3, 4) > 0
        f.case("any", n, [~b], lambda t: t.sum(ax(t, a)) > 0, axes=a)
        f.case("all", n, [b], lambda t: (~t).sum(ax(t, a)) == 0, axes=a)
        f.case("sum", "int32_" + n, [r.ints(-9, 9, 2, 3, 4, dtype=torch.int32)], lambda t: t.sum(ax(t, a)), axes=a)
        f.case("max", "int64_" + n, [r.ints(-99, 99, 2, 3, 4)], lambda t: t.amax(ax(t, a)), axes=a)
    for op, fn in {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin, "logsumexp": torch.logsumexp}.items():
        x = Formula(21, 37, 5, 61, scale=2.0)
        for a in ([0], [1], [2], [0, 1], [0, 2], [1, 2]):
            f.case(op, "large_" + "_".join(map(str, a)), [x], lambda t: fn(t, tuple(a)), axes=a)
        f.case(op, "long", [Formula(22, 20011)], lambda t: fn(t, (0,)), axes=[])
        f.case(op, "tall", [Formula(23, 3001, 3)], lambda t: fn(t, (0,)), axes=[0])
    f.case("var", "large", [Formula(24, 41, 257)], lambda t: t.var(1, correction=0), correction=0, axes=[1])
    f.case("var", "far_from_zero", [torch.round(r(4, 8) * 8) / 8 + 1000], lambda t: t.var(1, correction=1), correction=1, axes=[1])
    for d in (torch.uint8, torch.int8, torch.bool):
        f.case("sum", str(d)[6:], [r.ints(0, 100, 60).to(d)], lambda t: t.sum(), axes=[])
    f.case("prod", "one_zero", [f32(2, 0, 3)], lambda t: t.prod(), axes=[])
    f.case("prod", "two_zeros", [f32(2, 0, 3, 0)], lambda t: t.prod(), axes=[])
    f.case("prod", "negative", [f32(-2, 1.5, 3, -1)], lambda t: t.prod(), axes=[])
    f.case("prod", "int64", [torch.tensor([[2, 3], [4, -5]])], lambda t: t.prod(1), axes=[1])
    for op in ("sum", "prod", "sum_keep"):
        fn = {"sum": lambda t: t.sum(0), "prod": lambda t: t.prod(0), "sum_keep": lambda t: t.sum(0, keepdim=True)}[op]
        f.case(op, "empty_axis", [torch.zeros(0, 3)], fn, grad=False, axes=[0])
    f.case("mean", "empty_axis", [torch.zeros(0, 3)], lambda t: t.mean(0), grad=False, axes=[0])
    f.case("sum", "empty_result", [torch.zeros(0, 3)], lambda t: t.sum(1), grad=False, axes=[1])
    f.case("max", "ties", [f32(1, 3, 3, 2)], lambda t: t.amax(0), smooth=False, axes=[0])
    f.case("min", "ties", [f32(2, 1, 1, 1)], lambda t: t.amin(0), smooth=False, axes=[0])
    f.case("norm", "zero", [f32(0, 0, 0)], lambda t: torch.linalg.vector_norm(t), smooth=False, axes=[])
    s = torch.tensor([[1, NAN, 2], [INF, 1, -INF], [-INF, -INF, -INF]], dtype=torch.float32)
    for op, fn in {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin, "logsumexp": torch.logsumexp}.items():
        f.case(op, "special", [s], lambda t: fn(t, (1,)), grad=False, axes=[1])
    f.case("logsumexp", "huge", [f32(1000, 1000.5, -1000)], lambda t: t.logsumexp(0), axes=[0])
    f.case("logsumexp", "masked", [torch.tensor([[0.5, -INF, 1], [2, 1, -INF]])], lambda t: t.logsumexp(1), smooth=False, axes=[1])

    for op, fn in {"argmax": torch.argmax, "argmin": torch.argmin}.items():
        for a in (0, 1, 2, -1):
            f.case(op, "axis_%d" % a, [r.distinct(2, 3, 4)], lambda t: fn(t, a), axis=a)
        f.case(op, "ties", [f32(1, 3, 3, 1)], lambda t: fn(t, 0), axis=0)
        f.case(op, "nan", [torch.tensor([[1, NAN, 3, NAN], [INF, -INF, INF, 0]])], lambda t: fn(t, 1), axis=1)
        f.case(op, "int64", [r.ints(-50, 50, 4, 6)], lambda t: fn(t, 1), axis=1)
        f.case(op, "long", [Formula(25, 3, 1003)], lambda t: fn(t, 1), axis=1)
    for a in (0, 1, 2, -1):
        f.case("cumsum", "axis_%d" % a, [r(2, 3, 4)], lambda t: t.cumsum(a), axis=a)
    f.case("cumsum", "int32", [r.ints(-9, 9, 6, dtype=torch.int32)], lambda t: t.cumsum(0), axis=0)
    f.case("cumsum", "bool", [r.bools(7)], lambda t: t.cumsum(0), axis=0)
    f.case("cumsum", "long", [Formula(26, 3, 517)], lambda t: t.cumsum(1), axis=1)

    for desc in (False, True):
        n = "descending" if desc else "ascending"
        for a in (0, 1, -1):
            f.case("sort", "%s_%d" % (n, a), [r.distinct(2, 3, 4)], lambda t: torch.sort(t, stable=True, dim=a, descending=desc)[:2], axis=a, descending=desc)
        f.case("sort", n + "_ties", [f32(2, 1, 2, 1, 3, 2)], lambda t: torch.sort(t, stable=True, dim=0, descending=desc), grad=False, axis=0, descending=desc)
        f.case("sort", n + "_special", [f32(1, NAN, -INF, INF, -0.0, 0, NAN)], lambda t: torch.sort(t, stable=True, dim=0, descending=desc), grad=False, axis=0, descending=desc)
        f.case("sort", n + "_int64", [r.ints(-5, 5, 2, 9)], lambda t: torch.sort(t, stable=True, dim=1, descending=desc), axis=1, descending=desc)
        f.case("sort", n + "_long", [Formula(27, 1201)], lambda t: torch.sort(t, stable=True, dim=0, descending=desc)[:2], axis=0, descending=desc)
        f.case("argsort", n, [r.distinct(4, 6)], lambda t: torch.argsort(t, stable=True, dim=1, descending=desc), axis=1, descending=desc)
    for k in (1, 3, 5):
        f.case("topk", "k_%d" % k, [r.distinct(3, 5)], lambda t: torch.topk(t, k, 1)[:2], k=k, axis=1)
    f.case("topk", "axis_0", [r.distinct(6, 3)], lambda t: torch.topk(t, 2, 0)[:2], k=2, axis=0)
    f.case("topk", "ties", [f32(1, 3, 2, 3, 3)], lambda t: [v[:4] for v in torch.sort(t, stable=True, dim=0, descending=True)], grad=False, k=4, axis=0)
    f.write()


def linalg():
    f = File("testdata/ops/linalg.json", "contractions")
    r = Rand(500)
    for a, b in (((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)),
                 ((2, 1, 3, 4), (5, 4, 2)), ((4,), (2, 4, 3)), ((2, 3, 4), (4,)), ((3, 4), (2, 4, 5)), ((1, 1), (1, 1)), ((1, 7), (7, 1)), ((7, 1), (1, 6))):
        f.case("matmul", "%sx%s" % ("_".join(map(str, a)), "_".join(map(str, b))), [r(*a), r(*b)], torch.matmul)
    f.case("matmul", "transposed_left", [r(4, 3), r(4, 5)], lambda a, b: a.T @ b, ta=True)
    f.case("matmul", "transposed_right", [r(3, 4), r(5, 4)], lambda a, b: a @ b.T, tb=True)
    f.case("matmul", "transposed_both", [r(2, 4, 3), r(2, 5, 4)], lambda a, b: a.mT @ b.mT, ta=True, tb=True)
    for m, k, n in ((33, 65, 47), (5, 300, 3), (130, 17, 70), (1, 129, 257), (64, 64, 64), (97, 1, 31)):
        f.case("matmul", "large_%d_%d_%d" % (m, k, n), [Formula(31, m, k), Formula(32, k, n)], torch.matmul)
        f.case("matmul", "large_t_%d_%d_%d" % (m, k, n), [Formula(33, k, m), Formula(34, n, k)], lambda a, b: a.T @ b.T, ta=True, tb=True)
    f.case("matmul", "large_batched", [Formula(35, 7, 19, 23), Formula(36, 7, 23, 29)], torch.matmul)
    f.case("matmul", "no_inner", [torch.zeros(2, 0), torch.zeros(0, 3)], torch.matmul, grad=False)
    f.case("matmul", "no_rows", [torch.zeros(0, 2), torch.zeros(2, 3)], torch.matmul, grad=False)
    f.case("matmul", "int64", [r.ints(-9, 9, 3, 4), r.ints(-9, 9, 4, 2)], torch.matmul)
    f.case("matmul", "square_of_itself", [r(4, 4)], lambda a: a @ a)
    f.case("matmul", "special", [torch.tensor([[INF, 1], [NAN, 0]]), torch.tensor([[0.0, 1], [1, 2]])], torch.matmul, grad=False)
    for eq, ss in (("ij,jk->ik", [(2, 3), (3, 4)]), ("bij,bjk->bik", [(2, 3, 4), (2, 4, 2)]), ("ij->ji", [(2, 3)]), ("ij->j", [(2, 3)]),
                   ("i,j->ij", [(3,), (4,)]), ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]), ("ijk->k", [(2, 3, 4)]), ("ij,ij->", [(2, 3), (2, 3)]),
                   ("ij,jk", [(2, 3), (3, 2)]), ("i,i", [(4,), (4,)]), ("abc,cd,de->abe", [(2, 2, 3), (3, 4), (4, 2)]), ("ij,kj->ikj", [(2, 3), (4, 3)]),
                   ("ii->i", [(3, 3)]), ("ii", [(3, 3)]), ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 2)]), ("ijkl,jk->il", [(2, 3, 2, 4), (3, 2)]), ("i,ij,j->", [(2,), (2, 3), (3,)])):
        f.case("einsum", eq, [r(*s) for s in ss], lambda *t: torch.einsum(eq, *t), eq=eq)
    for b in (True, False):
        n = "" if b else "_no_bias"
        for s in ((3,), (5, 3), (2, 4, 3)):
            i = [r(*s), r(6, 3)] + ([r(6)] if b else [None])
            f.case("linear", "rank%d%s" % (len(s), n), i, F.linear)
    f.case("linear", "large", [Formula(37, 19, 70), Formula(38, 33, 70), Formula(39, 33)], F.linear)
    f.write()


def indexing():
    f = File("testdata/ops/index.json", "gather, scatter and their kin")
    r = Rand(600)
    x = r(4, 5)
    for d in (torch.int64, torch.int32):
        n = "" if d == torch.int64 else "_int32"
        f.case("gather", "axis_0" + n, [x, r.ints(0, 4, 3, 5, dtype=d)], lambda t, i: t.gather(0, i.long()), axis=0)
        f.case("gather", "axis_1" + n, [x, r.ints(0, 5, 4, 7, dtype=d)], lambda t, i: t.gather(1, i.long()), axis=1)
        f.case("index_select", "rows" + n, [x, torch.tensor([3, 0, 3, 1], dtype=d)], lambda t, i: t.index_select(0, i), axis=0)
        f.case("embedding", "matrix" + n, [x, r.ints(0, 4, 2, 3, dtype=d)], lambda t, i: F.embedding(i, t))
    f.case("gather", "smaller_index", [x, r.ints(0, 5, 2, 3)], lambda t, i: t.gather(1, i), axis=1)
    f.case("gather", "rank3", [r(2, 3, 4), r.ints(0, 3, 2, 5, 4)], lambda t, i: t.gather(1, i), axis=1)
    f.case("gather", "negative_axis", [x, r.ints(0, 5, 4, 1)], lambda t, i: t.gather(-1, i), axis=-1)
    f.case("gather", "of_int64", [r.ints(0, 99, 4, 5), r.ints(0, 5, 4, 2)], lambda t, i: t.gather(1, i), axis=1)
    f.case("index_select", "columns", [x, torch.tensor([4, 4, 0])], lambda t, i: t.index_select(1, i), axis=1)
    f.case("index_select", "middle", [r(2, 3, 4), torch.tensor([2, 0])], lambda t, i: t.index_select(1, i), axis=1)
    f.case("index_select", "none", [x, torch.zeros(0, dtype=torch.int64)], lambda t, i: t.index_select(0, i), grad=False, axis=0)
    f.case("embedding", "vector", [x, torch.tensor([1, 1, 2])], lambda t, i: F.embedding(i, t))
    f.case("embedding", "one", [x, torch.tensor(2)], lambda t, i: F.embedding(i, t))
    f.case("embedding", "large", [Formula(41, 50, 33), r.ints(0, 50, 7, 11)], lambda t, i: F.embedding(i, t))
    f.case("scatter_add", "duplicates", [x, r.ints(0, 4, 6, 5), r(6, 5)], lambda t, i, s: t.scatter_add(0, i, s), axis=0)
    f.case("scatter_add", "axis_1", [x, r.ints(0, 5, 4, 3), r(4, 3)], lambda t, i, s: t.scatter_add(1, i, s), axis=1)
    f.case("scatter_add", "smaller_index", [x, r.ints(0, 5, 2, 3), r(2, 3)], lambda t, i, s: t.scatter_add(1, i, s), axis=1)
    f.case("scatter_add", "int64", [torch.zeros(5, dtype=torch.int64), r.ints(0, 5, 9), torch.ones(9, dtype=torch.int64)], lambda t, i, s: t.scatter_add(0, i, s), axis=0)
    unique = torch.stack([torch.tensor([2, 0, 4]), torch.tensor([1, 3, 0]), torch.tensor([4, 1, 2]), torch.tensor([0, 2, 3])])
    f.case("scatter", "axis_1", [x, unique, r(4, 3)], lambda t, i, s: t.scatter(1, i, s), axis=1)
    f.case("scatter", "axis_0", [x, torch.tensor([[0, 1, 2, 3, 0], [3, 2, 1, 0, 2]]), r(2, 5)], lambda t, i, s: t.scatter(0, i, s), axis=0)
    f.case("masked_fill", "same", [x, r.bools(4, 5)], lambda t, m: t.masked_fill(m, -7.5), v=-7.5)
    f.case("masked_fill", "broadcast", [r(2, 3, 4), r.bools(3, 1)], lambda t, m: t.masked_fill(m, 0.25), v=0.25)
    f.case("masked_fill", "infinity", [x, r.bools(4, 5)], lambda t, m: t.masked_fill(m, -INF), grad=False, v="-inf")
    f.case("one_hot", "vector", [torch.tensor([2, 0, 3, 3])], lambda i: F.one_hot(i, 4).float(), native=True, classes=4)
    f.case("one_hot", "matrix", [r.ints(0, 3, 2, 3)], lambda i: F.one_hot(i, 5).float(), native=True, classes=5)
    f.case("dynamic_slice", "inside", [x, torch.tensor([1, 2])], lambda t, s: t[1:3, 2:5], size=[2, 3])
    f.case("dynamic_slice", "rank3", [r(3, 4, 5), torch.tensor([2, 0, 1])], lambda t, s: t[2:3, 0:4, 1:3], size=[1, 4, 2])
    f.case("dynamic_update_slice", "inside", [x, r(2, 3), torch.tensor([1, 2])],
           lambda t, u, s: torch.cat([t[:1], torch.cat([t[1:3, :2], u], 1), t[3:]], 0))

    def scan(x, w, h, reverse):
        ys = []
        for t in (reversed(range(x.shape[0])) if reverse else range(x.shape[0])):
            h = torch.tanh(x[t] + h @ w)
            ys.append(h * h)
        return [h, torch.stack(ys[::-1] if reverse else ys)]

    for rev in (False, True):
        f.case("scan_rnn", "reverse" if rev else "forward", [r(5, 2, 3, lo=-1, hi=1), r(3, 3, lo=-1, hi=1), r(2, 3, lo=-1, hi=1)], lambda x, w, h: scan(x, w, h, rev), reverse=rev)

    def two(x, a, b):
        ys = []
        for t in range(x.shape[0]):
            a, b = a * x[t] + b, a - 0.5 * b
            ys.append(a + b)
        return [a, b, torch.stack(ys)]

    f.case("scan_two", "forward", [r(4, 3, lo=-1, hi=1), r(3), r(3)], two)
    f.write()


def convolutions():
    f = File("testdata/ops/conv.json", "convolutions and pooling")
    r = Rand(700)

    def conv(x, w, b, **o):
        return [None, F.conv1d, F.conv2d, F.conv3d][x.dim() - 2](x, w, b, **o)

    def one(name, x, w, bias=True, **o):
        k = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | {a: tuple(v) if isinstance(v, list) else v for a, v in o.items()}
        f.case("conv", name, [x, w, r(w.shape[0]) if bias else None], lambda a, b, c: conv(a, b, c, **k), **{a: v if isinstance(v, list) or a == "groups" else [v] for a, v in o.items()})

    one("1d", r(2, 3, 9), r(4, 3, 3))
    one("1d_stride2_pad1", r(2, 3, 9), r(4, 3, 3), stride=2, padding=1)
    one("1d_dilation2", r(1, 2, 11), r(3, 2, 3), dilation=2)
    one("1d_groups2", r(2, 4, 7), r(6, 2, 3), groups=2, padding=1)
    one("2d", r(2, 3, 6, 5), r(4, 3, 3, 3))
    one("2d_no_bias", r(2, 2, 5, 5), r(3, 2, 3, 3), bias=False)
    one("2d_1x1", r(2, 3, 4, 5), r(4, 3, 1, 1))
    one("2d_1x1_stride2", r(2, 3, 5, 5), r(4, 3, 1, 1), stride=2)
    one("2d_pad1", r(1, 2, 5, 4), r(3, 2, 3, 3), padding=1)
    one("2d_pad2_5x5", r(1, 1, 7, 7), r(2, 1, 5, 5), padding=2)
    one("2d_stride2", r(1, 2, 7, 7), r(3, 2, 3, 3), stride=2)
    one("2d_stride2_even", r(1, 2, 8, 6), r(3, 2, 3, 3), stride=2, padding=1)
    one("2d_stride_2_1", r(1, 2, 7, 5), r(2, 2, 3, 2), stride=[2, 1], padding=[0, 1])
    one("2d_stride3_leftover", r(1, 1, 9, 9), r(2, 1, 2, 2), stride=3)
    one("2d_dilation2", r(1, 2, 8, 8), r(2, 2, 3, 3), dilation=2)
    one("2d_dilation_1_2_pad", r(1, 2, 6, 8), r(2, 2, 3, 3), dilation=[1, 2], padding=[1, 2])
    one("2d_stride2_dilation2", r(1, 2, 9, 9), r(2, 2, 3, 3), stride=2, dilation=2, padding=2)
    one("2d_groups2", r(2, 4, 5, 5), r(6, 2, 3, 3), groups=2)
    one("2d_depthwise", r(2, 3, 5, 6), r(3, 1, 3, 3), groups=3, padding=1)
    one("2d_depthwise_multiplier", r(1, 3, 5, 5), r(6, 1, 3, 3), groups=3, stride=2, padding=1)
    one("2d_rectangular", r(1, 2, 5, 7), r(2, 2, 1, 5), padding=[0, 2])
    one("2d_whole_image", r(2, 2, 4, 4), r(3, 2, 4, 4))
    one("3d", r(1, 2, 4, 4, 3), r(2, 2, 2, 3, 2), padding=1)
    one("2d_large", Formula(51, 3, 8, 14, 13), r(5, 8, 3, 3), padding=1)

    def bigger(name, x, w, **o):
        f.case("conv", name, [x, w, None], lambda a, b, c: conv(a, b, None, **o), **{k: v if k == "groups" else [v] for k, v in o.items()})

    bigger("2d_wide", Formula(53, 2, 16, 17, 19, scale=0.5), Formula(54, 33, 16, 3, 3, scale=0.5), padding=1)
    bigger("2d_wide_stride2", Formula(55, 2, 9, 23, 21, scale=0.5), Formula(56, 20, 9, 5, 5, scale=0.5), padding=2, stride=2)
    bigger("2d_lenet", Formula(57, 4, 1, 28, 28), Formula(58, 6, 1, 5, 5), padding=2)
    bigger("2d_wide_depthwise", Formula(59, 2, 24, 13, 11), Formula(60, 24, 1, 3, 3), padding=1, groups=24)

    def transposed(name, x, w, bias=True, **o):
        k = {a: tuple(v) if isinstance(v, list) else v for a, v in o.items()}
        g = o.get("groups", 1)
        fn = F.conv_transpose1d if x.dim() == 3 else F.conv_transpose2d
        f.case("conv_transpose", name, [x, w, r(w.shape[1] * g) if bias else None], lambda a, b, c: fn(a, b, c, **k),
               **{a: v if isinstance(v, list) or a == "groups" else [v] for a, v in o.items()})

    transposed("1d", r(2, 3, 5), r(3, 2, 3))
    transposed("1d_stride2_out1", r(2, 3, 5), r(3, 2, 3), stride=2, padding=1, output_padding=1)
    transposed("2d", r(1, 2, 4, 3), r(2, 3, 3, 3))
    transposed("2d_no_bias", r(1, 2, 4, 3), r(2, 3, 3, 3), bias=False)
    transposed("2d_stride2", r(1, 2, 3, 4), r(2, 3, 2, 2), stride=2)
    transposed("2d_stride2_pad1_out1", r(2, 2, 3, 3), r(2, 2, 3, 3), stride=2, padding=1, output_padding=1)
    transposed("2d_stride3_out_2_1", r(1, 2, 3, 3), r(2, 2, 3, 3), stride=3, padding=1, output_padding=[2, 1])
    transposed("2d_pad2", r(1, 2, 5, 5), r(2, 2, 5, 5), padding=2)
    transposed("2d_dilation2", r(1, 2, 4, 4), r(2, 2, 3, 3), dilation=2, padding=1)
    transposed("2d_groups2", r(1, 4, 3, 3), r(4, 3, 3, 3), groups=2, stride=2)
    transposed("2d_kernel_below_stride", r(1, 2, 3, 3), r(2, 2, 2, 2), stride=3)

    def pool(op, name, x, size, stride, padding, count=None):
        fn = {"max_pool": [F.max_pool1d, F.max_pool2d], "avg_pool": [F.avg_pool1d, F.avg_pool2d]}[op][x.dim() - 3]
        kw = {} if count is None else {"count_include_pad": count}
        args = {"size": size, "stride": stride, "padding": padding} | ({} if count is None else {"count_pad": count})
        f.case(op, name, [x], lambda t: fn(t, size, stride, padding, **kw), smooth=name != "2d_ties", **args)

    for op in ("max_pool", "avg_pool"):
        for c in ((None,) if op == "max_pool" else (True, False)):
            n = "" if c is None else "_count" if c else "_nocount"
            pool(op, "1d" + n, r.distinct(2, 3, 9), [3], [2], [1], c)
            pool(op, "2d" + n, r.distinct(2, 2, 6, 6), [2, 2], [2, 2], [0, 0], c)
            pool(op, "2d_overlap" + n, r.distinct(1, 2, 7, 7), [3, 3], [2, 2], [0, 0], c)
            pool(op, "2d_overlap1" + n, r.distinct(1, 2, 5, 6), [3, 3], [1, 1], [0, 0], c)
            pool(op, "2d_pad" + n, r.distinct(1, 2, 6, 6), [3, 3], [2, 2], [1, 1], c)
            pool(op, "2d_leftover" + n, r.distinct(1, 1, 7, 8), [3, 3], [3, 3], [0, 0], c)
            pool(op, "2d_gaps" + n, r.distinct(1, 1, 8, 8), [2, 2], [3, 3], [0, 0], c)
            pool(op, "2d_rectangular" + n, r.distinct(1, 2, 6, 7), [2, 3], [1, 2], [1, 0], c)
            pool(op, "2d_whole" + n, r.distinct(2, 3, 4, 5), [4, 5], [4, 5], [0, 0], c)
    pool("max_pool", "2d_ties", torch.tensor([1.0, 1, 0, 2, 1, 1, 2, 2, 0, 0, 0, 0, 0, -1, 0, 0]).reshape(1, 1, 4, 4), [2, 2], [2, 2], [0, 0])
    neg = -r.distinct(1, 1, 4, 4).abs() - 1  # padding must not win over negative values
    pool("max_pool", "2d_negative_pad", neg, [3, 3], [2, 2], [1, 1])
    f.case("max_pool", "2d_nan", [torch.tensor([NAN, 1, 2, 3, 4, 5, 6, -INF]).reshape(1, 1, 2, 4)], lambda t: F.max_pool2d(t, 2), grad=False, size=[2, 2], stride=[2, 2], padding=[0, 0])
    f.write()


def composites():
    f = File("testdata/ops/composite.json", "softmax, normalisation, attention, cross-entropy")
    r = Rand(800)
    for op, fn in {"softmax": F.softmax, "log_softmax": F.log_softmax}.items():
        for a in (0, 1, 2, -1):
            f.case(op, "axis_%d" % a, [r(3, 4, 5)], lambda t: fn(t, a), axis=a)
        f.case(op, "vector", [r(7)], lambda t: fn(t, 0), axis=0)
        f.case(op, "one", [r(3, 1)], lambda t: fn(t, 1), axis=1)
        f.case(op, "huge", [torch.tensor([[1000.0, 1001, 999], [-1000, -1000.5, -999]])], lambda t: fn(t, 1), axis=1)
        f.case(op, "masked", [torch.tensor([[0.5, -INF, 1], [2, 1, -INF]])], lambda t: fn(t, 1), grad=False, axis=1)
        f.case(op, "large", [Formula(61, 13, 301, scale=4.0)], lambda t: fn(t, 1), axis=1)
        f.case(op, "special", [torch.tensor([[NAN, 1, 2], [INF, 0, 1], [-INF, -INF, -INF]])], lambda t: fn(t, 1), grad=False, axis=1)

    def ln(x, g, b, eps, shape=None):
        return F.layer_norm(x, shape or (g.shape if g is not None else x.shape[-1:]), g, b, eps)

    f.case("layer_norm", "last", [r(3, 4, 6), r(6), r(6)], lambda x, g, b: ln(x, g, b, 1e-5), eps=1e-5)
    f.case("layer_norm", "two_axes", [r(3, 4, 6), r(4, 6), r(4, 6)], lambda x, g, b: ln(x, g, b, 1e-5), eps=1e-5)
    f.case("layer_norm", "plain", [r(3, 6), None, None], lambda x, g, b: ln(x, g, b, 1e-5), eps=1e-5)
    f.case("layer_norm", "no_beta", [r(3, 6), r(6), None], lambda x, g, b: ln(x, g, b, 1e-5), eps=1e-5)
    f.case("layer_norm", "large_eps", [r(3, 6), r(6), r(6)], lambda x, g, b: ln(x, g, b, 0.1), eps=0.1)
    f.case("layer_norm", "large", [Formula(62, 21, 130, scale=2.0), r(130), r(130)], lambda x, g, b: ln(x, g, b, 1e-5), eps=1e-5)
    f.case("layer_norm", "far_from_zero", [torch.round(r(3, 8) * 8) / 8 + 100, r(8), r(8)], lambda x, g, b: ln(x, g, b, 1e-5), eps=1e-5)
    f.case("rms_norm", "last", [r(3, 4, 6), r(6)], lambda x, g: F.rms_norm(x, (6,), g, 1e-6), eps=1e-6)
    f.case("rms_norm", "plain", [r(3, 6), None], lambda x, g: F.rms_norm(x, (6,), None, 1e-6), eps=1e-6)
    f.case("rms_norm", "large", [Formula(63, 21, 130, scale=2.0), r(130)], lambda x, g: F.rms_norm(x, (130,), g, 1e-5), eps=1e-5)

    def bn(x, g, b, eps):
        ax = [i for i in range(x.dim()) if i != 1]
        return [F.batch_norm(x, None, None, g, b, True, 0.1, eps), x.mean(ax), x.var(ax, correction=0)]

    for n, s in (("rank2", (6, 4)), ("rank3", (3, 4, 5)), ("rank4", (3, 4, 2, 5))):
        f.case("batch_norm", n, [r(*s), r(4), r(4)], lambda x, g, b: bn(x, g, b, 1e-5), eps=1e-5)
    f.case("batch_norm", "plain", [r(6, 4), None, None], lambda x, g, b: bn(x, None, None, 1e-5), eps=1e-5)
    f.case("batch_norm", "large", [Formula(64, 7, 5, 13, 11, scale=2.0), r(5), r(5)], lambda x, g, b: bn(x, g, b, 1e-5), eps=1e-5)
    f.case("group_norm", "two", [r(2, 6, 3, 2), r(6), r(6)], lambda x, g, b: F.group_norm(x, 2, g, b, 1e-5), groups=2, eps=1e-5)
    f.case("group_norm", "each", [r(2, 4, 5), r(4), r(4)], lambda x, g, b: F.group_norm(x, 4, g, b, 1e-5), groups=4, eps=1e-5)
    f.case("group_norm", "one", [r(2, 4, 5), r(4), r(4)], lambda x, g, b: F.group_norm(x, 1, g, b, 1e-5), groups=1, eps=1e-5)
    f.case("group_norm", "plain", [r(3, 4), None, None], lambda x, g, b: F.group_norm(x, 2, None, None, 1e-5), groups=2, eps=1e-5)

    def attention(q, k, v, m, causal=False, scale=None):
        return F.scaled_dot_product_attention(q, k, v, m, 0.0, causal, scale=scale)

    q, k, v = (2, 2, 4, 3), (2, 2, 5, 3), (2, 2, 5, 6)
    f.case("attention", "plain", [r(*q), r(*k), r(*v), None], attention)
    f.case("attention", "scale", [r(*q), r(*k), r(*v), None], lambda q, k, v, m: attention(q, k, v, m, scale=0.3), scale=0.3)
    f.case("attention", "causal", [r(2, 2, 5, 3), r(*k), r(*v), None], lambda q, k, v, m: attention(q, k, v, m, True), causal=True)
    some = r.bools(2, 1, 4, 5)
    some[..., 1] = True
    f.case("attention", "bool_mask", [r(*q), r(*k), r(*v), some], attention)
    f.case("attention", "bool_mask_2d", [r(*q), r(*k), r(*v), some[0, 0].clone()], attention)
    f.case("attention", "float_mask", [r(*q), r(*k), r(*v), r(4, 5)], attention)
    f.case("attention", "float_mask_inf", [r(*q), r(*k), r(*v), torch.where(some, 0.0, -INF)],
           lambda q, k, v, m: attention(q, k, v, m.detach()), smooth=False, mask_fixed=True)
    f.case("attention", "one", [r(1, 1, 1, 2), r(1, 1, 1, 2), r(1, 1, 1, 2), None], attention)
    f.case("attention", "large", [Formula(65, 2, 2, 37, 16), Formula(66, 2, 2, 37, 16), Formula(67, 2, 2, 37, 16), None], lambda q, k, v, m: attention(q, k, v, m, True), causal=True)
    none = torch.tensor([[True, False], [False, False]])
    f.case("attention", "row_without_keys", [r(1, 1, 2, 3), r(1, 1, 2, 3), r(1, 1, 2, 3), none], attention, grad=False)

    def ce(name, x, t, smooth=True, **o):
        kw = dict(o)
        if "ignore_index" not in kw:
            kw.pop("ignore_index", None)
        w = kw.pop("weight", None)
        ins = [x, t] + ([w] if w is not None else [None])
        f.case("cross_entropy", name, ins, lambda a, b, c: F.cross_entropy(a, b, None if c is None else c.detach(), **kw), weight_fixed=True,
               **{a: v for a, v in o.items() if a != "weight"})

    w = r(5, lo=0.2, hi=2)
    ce("mean", r(6, 5), r.ints(0, 5, 6))
    ce("sum", r(6, 5), r.ints(0, 5, 6), reduction="sum")
    ce("none", r(6, 5), r.ints(0, 5, 6), reduction="none")
    t = torch.tensor([1, -100, 3, 0, -100, 4])
    ce("ignore", r(6, 5), t, ignore_index=-100)
    ce("ignore_other", r(6, 5), torch.tensor([1, 2, 2, 0, 2, 4]), ignore_index=2)
    ce("smoothing", r(6, 5), r.ints(0, 5, 6), label_smoothing=0.1)
    ce("smoothing_ignore", r(6, 5), t, label_smoothing=0.2, ignore_index=-100)
    ce("weight", r(6, 5), r.ints(0, 5, 6), weight=w)
    ce("weight_sum", r(6, 5), r.ints(0, 5, 6), weight=w, reduction="sum")
    ce("weight_ignore", r(6, 5), t, weight=w, ignore_index=-100)
    ce("weight_smoothing", r(6, 5), r.ints(0, 5, 6), weight=w, label_smoothing=0.1)
    ce("weight_smoothing_ignore", r(6, 5), t, weight=w, label_smoothing=0.1, ignore_index=-100)
    ce("rank3", r(2, 5, 3), r.ints(0, 5, 2, 3))
    ce("rank4_ignore", r(2, 5, 2, 3), torch.tensor([0, -100, 4, 3, 1, -100, 2, 2, 1, 0, -100, 4]).reshape(2, 2, 3), ignore_index=-100)
    ce("huge", torch.tensor([[1000.0, 0, -1000], [0, 500, 1000]]), torch.tensor([0, 1]))
    ce("large", Formula(68, 31, 65, scale=3.0), r.ints(0, 65, 31))

    def probabilities(seed, *shape):  # of the classes along axis 1, as mixed labels are
        p = torch.softmax(3 * noise(seed, *shape), 1)
        return torch.round(p * 1000).div(1000).to(torch.float32)

    logits = Rand(690)  # numbers of its own: those of other cases stay
    w = logits(5, lo=0.2, hi=2)
    ce("probabilities", logits(6, 5), probabilities(691, 6, 5))
    ce("probabilities_sum", logits(6, 5), probabilities(692, 6, 5), reduction="sum")
    ce("probabilities_none", logits(6, 5), probabilities(693, 6, 5), reduction="none")
    ce("probabilities_smoothing", logits(6, 5), probabilities(694, 6, 5), label_smoothing=0.1)
    ce("probabilities_weight", logits(6, 5), probabilities(695, 6, 5), weight=w)
    ce("probabilities_weight_smoothing", logits(6, 5), probabilities(696, 6, 5), weight=w, label_smoothing=0.3)
    ce("probabilities_rank3", logits(2, 5, 3), probabilities(697, 2, 5, 3))
    ce("probabilities_rank1", logits(5), torch.tensor([0.25, 0, 0.5, 0.25, 0]))

    def heads(b, h, t, s, d, e):
        return [Formula(70, b, h, t, d, scale=2.0), Formula(71, b, h, s, d, scale=2.0), Formula(72, b, h, s, e)]

    for t in (1, 7, 65, 130):
        for d in (5, 16, 64):
            for causal in (False, True):
                f.case("attention", "%s_%d_%d" % ("causal" if causal else "plain", t, d), heads(1, 2, t, t, d, d) + [None],
                       lambda q, k, v, m: attention(q, k, v, m, causal), causal=causal)
    f.case("attention", "longer_keys", heads(2, 1, 66, 301, 16, 40) + [None], attention)
    f.case("attention", "longer_keys_causal", heads(2, 1, 66, 301, 16, 40) + [None], lambda q, k, v, m: attention(q, k, v, m, True), causal=True)
    f.case("attention", "longer_queries_causal", heads(1, 1, 150, 20, 16, 8) + [None], lambda q, k, v, m: attention(q, k, v, m, True), causal=True)
    seen = r.bools(2, 1, 1, 65)
    seen[..., 0] = True
    f.case("attention", "bool_mask_keys", heads(2, 2, 70, 65, 16, 16) + [seen], attention)
    seen = r.bools(1, 2, 7, 65)
    seen[..., 0] = True
    f.case("attention", "bool_mask_heads", heads(2, 2, 7, 65, 5, 5) + [seen], attention)
    f.case("attention", "bool_mask_queries", heads(1, 1, 7, 9, 5, 5) + [torch.tensor([[True]] * 7)], attention)
    f.case("attention", "float_mask_keys", heads(2, 2, 70, 65, 16, 16) + [torch.where(r.bools(2, 1, 1, 65), 0.5, -INF)],
           lambda q, k, v, m: attention(q, k, v, m.detach()), smooth=False, mask_fixed=True)
    f.case("attention", "float_mask_large", heads(1, 2, 65, 130, 16, 16) + [Formula(73, 65, 130, scale=3.0)],
           lambda q, k, v, m: attention(q, k, v, m.detach()), smooth=False, mask_fixed=True)
    f.case("attention", "float_mask_learned", heads(1, 2, 65, 130, 16, 16) + [Formula(73, 2, 65, 130, scale=3.0)], attention)
    f.write()


def main():
    for g in (elementwise, dtypes, shapes, reductions, linalg, indexing, convolutions, composites):
        g()


if __name__ == "__main__":
    main()
