"""Reference values of training in float16 with a scaled loss, optim/testdata/scaler.json.

A classifier of two linear layers is trained with torch.amp.GradScaler. PyTorch has
no products of float16 with float32 sums on the CPU, so they are written out here:
operands are rounded to float16, multiplied and added up in float32, forwards and
backwards; gradients of weights and biases stay float32. The scales begin where the
gradients overflow float16, and grow until they do again.

The second part is products of float16: what rounding makes of large, small and tied
numbers.
"""

import math

import torch
import torch.nn.functional as F

from common import File, Rand, number, tensor

EXAMPLES, INPUTS, HIDDEN, CLASSES, STEPS = 24, 6, 8, 3, 30


def rounded(x):
    return x.half().float()


class Product(torch.autograd.Function):
    """x·Wᵀ + b on operands of float16."""

    @staticmethod
    def forward(ctx, x, w, b):
        x, w = rounded(x), rounded(w)
        ctx.save_for_backward(x, w)
        return x @ w.T + b

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        g = rounded(g)
        return g @ w, g.T @ x, g.sum(0)


class Rounded(torch.autograd.Function):
    """What a product reads is a float16 for everybody, and so is a bias whose sum is rounded."""

    @staticmethod
    def forward(ctx, x):
        return rounded(x)

    @staticmethod
    def backward(ctx, g):
        return g


RULES = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}


def main():
    f = File("optim/testdata/scaler.json", f"{STEPS} steps in float16 with a scaled loss")
    r = Rand(9000)
    start = {"w1": r(HIDDEN, INPUTS, lo=-1, hi=1), "b1": r(HIDDEN, lo=-1, hi=1), "w2": r(CLASSES, HIDDEN, lo=-1, hi=1), "b2": r(CLASSES, lo=-1, hi=1)}
    x, y = r(EXAMPLES, INPUTS), r.ints(0, CLASSES, EXAMPLES)

    def run(name, op, settings, scaling, clip=None):
        p = {k: v.clone().requires_grad_(True) for k, v in start.items()}
        opt = RULES[op](p.values(), **settings)
        scaler = torch.amp.GradScaler("cpu", **scaling)
        losses, scales, norms, params, trackers = [], [], [], [], []
        for _ in range(STEPS):
            h = Rounded.apply(F.relu(Product.apply(x, p["w1"], Rounded.apply(p["b1"]))))
            loss = F.cross_entropy(Product.apply(h, p["w2"], p["b2"]), y)
            opt.zero_grad()
            scaler.scale(loss).backward()
            if clip:
                scaler.unscale_(opt)
                norm = torch.nn.utils.clip_grad_norm_(p.values(), clip).item()
                norms.append(number(norm) if math.isfinite(norm) else 0)
            scaler.step(opt)
            scaler.update()
            losses.append(number(loss.item()))
            scales.append(scaler.get_scale())
            trackers.append(scaler.state_dict()["_growth_tracker"])
            params.append([number(v) for v in torch.cat([t.detach().reshape(-1) for t in p.values()]).tolist()])
        skipped = sum(a < b for a, b in zip(scales, [scaling["init_scale"]] + scales))
        assert 2 < skipped < STEPS / 2, (name, scales)
        case = {"op": op, "name": name, "args": settings | scaling, "loss": losses, "scale": scales, "growth_tracker": trackers, "params": [params[9], params[19], params[29]]}
        if clip:
            case["args"] |= {"clip_norm": clip}
            case["grad_norm"] = norms
        f.put(case)

    run("momentum", "sgd", {"lr": 0.1, "momentum": 0.9}, {"init_scale": 2.0**22, "growth_interval": 4})
    run("clipped", "sgd", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}, {"init_scale": 2.0**21, "growth_interval": 3}, clip=0.25)
    run("bias_correction", "adamw", {"lr": 0.02, "weight_decay": 0.1}, {"init_scale": 2.0**22, "growth_interval": 5, "growth_factor": 4.0, "backoff_factor": 0.25})

    f.about = {
        "what": f.about, "x": tensor(x, is_input=True), "y": tensor(y, is_input=True),
        "start": {k: tensor(v, is_input=True) for k, v in start.items()},
    }
    f.write()
    products()


def products():
    f = File("testdata/fp16.json", "products of operands rounded to float16, added up in float32")
    ulp = 2.0**-10
    edges = {
        "ties": ([1 + ulp / 2, 1 + 3 * ulp / 2, 1 + ulp / 2 + 2.0**-20, 1 - ulp / 4, -1 - ulp / 2, 2048.5 + 2.0, 3], [1.0] * 7),
        "subnormal": ([2.0**-24, 2.0**-25, 1.5 * 2.0**-25, 3 * 2.0**-25, 2.0**-15, 1023.5 * 2.0**-24, 6e-8], [2.0**14] * 7),
        "overflow": ([65504, 65519, 65520, -65520, 1e6, -3e38, 65503.9], [2.0**-4] * 7),
        "infinity": ([float("inf"), -float("inf"), float("inf"), float("nan"), 7e4, 7e4, 0.0], [1.0, 1.0, 0.0, 1.0, -7e4, 0.0, 7e4]),
        "small times large": ([2.0**-24, 2.0**-20, 2.0**-14, 1e-7, 1e-5, 1e-8, 3e-8], [60000.0, 65504.0, 1e4, 1e4, 3e4, 5e4, 1e3]),
    }
    for name, (a, b) in edges.items():
        a, b = torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)
        # Row by column: the product of one number with one other.
        f.put({"op": "outer", "name": name, "in": [tensor(a, is_input=True), tensor(b, is_input=True)], "out": [tensor(rounded(a) * rounded(b))], "exact": True})
    r = Rand(9500)
    for m, k, n in [(3, 5, 4), (17, 40, 33)]:
        a, b = r(m, k), r(k, n)
        f.put({"op": "matmul", "name": f"{m}x{k}x{n}", "in": [tensor(a, is_input=True), tensor(b, is_input=True)], "out": [tensor((rounded(a).double() @ rounded(b).double()).float())]})
    f.write()


if __name__ == "__main__":
    main()
