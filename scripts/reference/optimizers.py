"""Reference values of the optim package: update rules and schedules.

The problem is a linear regression, loss = mean((x·Wᵀ + b - y)²), with a second
parameter that is used with a strong scale, so that the directions differ.
"""

import torch

from common import File, Rand, noise, number, tensor


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = torch.sign(b1 * m + (1 - b1) * p.grad)
                p -= group["lr"] * (update + group["weight_decay"] * p)
                m.mul_(b2).add_(p.grad, alpha=1 - b2)


RULES = {
    "sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad, "lion": Lion,
}

SETTINGS = [
    ("sgd", "plain", {"lr": 0.1}),
    ("sgd", "momentum", {"lr": 0.05, "momentum": 0.9}),
    ("sgd", "nesterov", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("sgd", "weight_decay", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    ("sgd", "nesterov_weight_decay", {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1, "nesterov": True}),
    ("sgd", "dampening", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}),
    ("adam", "default", {"lr": 0.05}),
    ("adam", "betas_eps", {"lr": 0.05, "betas": [0.8, 0.95], "eps": 1e-3}),
    ("adam", "weight_decay", {"lr": 0.05, "weight_decay": 0.1}),
    ("adam", "amsgrad", {"lr": 0.05, "betas": [0.9, 0.7], "amsgrad": True}),
    ("adamw", "default", {"lr": 0.05, "weight_decay": 0.01}),
    ("adamw", "strong_decay", {"lr": 0.05, "weight_decay": 0.5, "betas": [0.9, 0.95]}),
    ("rmsprop", "default", {"lr": 0.02}),
    ("rmsprop", "alpha_eps", {"lr": 0.02, "alpha": 0.9, "eps": 1e-3}),
    ("rmsprop", "centered", {"lr": 0.02, "centered": True}),
    ("rmsprop", "momentum", {"lr": 0.02, "momentum": 0.9}),
    ("rmsprop", "centered_momentum_decay", {"lr": 0.02, "momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("adagrad", "default", {"lr": 0.2}),
    ("adagrad", "decay", {"lr": 0.2, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("lion", "default", {"lr": 0.02}),
    ("lion", "decay", {"lr": 0.02, "betas": [0.95, 0.98], "weight_decay": 0.3}),
]

EXTRA = [
    ("clip_norm", {"clip_norm": 0.5}),
    ("clip_norm_not_reached", {"clip_norm": 1e6}),
    ("clip_value", {"clip_value": 0.2}),
    ("group_bias", {"group": {"param": "bias", "lr": 0.01, "weight_decay": 0.0}}),
]


def rules():
    f = File("optim/testdata/rules.json", "ten steps of each update rule on a linear regression")
    r = Rand(4000)
    w, b, x, y = r(2, 3, lo=-1, hi=1), r(2, lo=-1, hi=1), r(6, 3), r(6, 2)
    problem = {"weight": tensor(w, is_input=True), "bias": tensor(b, is_input=True), "x": tensor(x, is_input=True), "y": tensor(y, is_input=True)}

    def run(op, name, settings, extra=None):
        extra = extra or {}
        p = [w.double().requires_grad_(True), b.double().requires_grad_(True)]
        kw = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        groups = p
        if "group" in extra:
            groups = [{"params": p[:1]}, {"params": p[1:], "lr": extra["group"]["lr"], "weight_decay": extra["group"]["weight_decay"]}]
        opt = RULES[op](groups, **kw)
        steps, losses, norms = [], [], []
        for _ in range(10):
            loss = ((x.double() @ p[0].T + 3 * p[1] - y.double()) ** 2).mean()
            opt.zero_grad()
            loss.backward()
            if "clip_norm" in extra:
                norms.append(number(torch.nn.utils.clip_grad_norm_(p, extra["clip_norm"]).item()))
            if "clip_value" in extra:
                torch.nn.utils.clip_grad_value_(p, extra["clip_value"])
            opt.step()
            losses.append(number(loss.item()))
            steps.append([number(v) for v in torch.cat([t.detach().reshape(-1) for t in p]).tolist()])
        c = {"op": op, "name": name, "args": settings | extra, "loss": losses, "params": steps}
        if norms:
            c["grad_norm"] = norms
        f.put(c)

    for op, name, s in SETTINGS:
        run(op, name, s)
    for name, extra in EXTRA:
        run("sgd", name, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}, extra)
    f.about = {"what": f.about, "problem": problem}
    f.write()


def schedules():
    f = File("optim/testdata/schedules.json", "learning rates before each of 50 steps")
    L = torch.optim.lr_scheduler

    def lr_of(make, n=50, metric=None):
        p = torch.zeros(1, requires_grad=True)
        opt = torch.optim.SGD([p], lr=0.1, momentum=0.9)
        s = make(opt)
        out = []
        for i in range(n):
            out.append(number(opt.param_groups[0]["lr"]))
            opt.step()
            if metric is None:
                s.step()
            else:
                s.step(metric[i])
        return out

    def put(op, name, make, metric=None, n=50, **args):
        c = {"op": op, "name": name, "args": {"lr": 0.1} | args, "lr": lr_of(make, n, metric)}
        if metric:
            c["metric"] = metric
        f.put(c)

    put("constant", "plain", lambda o: L.ConstantLR(o, factor=1.0))
    put("step", "every_7", lambda o: L.StepLR(o, 7, 0.5), every=7, gamma=0.5)
    put("multi_step", "three", lambda o: L.MultiStepLR(o, [5, 20, 21], 0.3), milestones=[5, 20, 21], gamma=0.3)
    put("exponential", "gamma", lambda o: L.ExponentialLR(o, 0.93), gamma=0.93)
    put("cosine", "full", lambda o: L.CosineAnnealingLR(o, 49, 0.0), steps=49, final=0)
    put("cosine", "to_floor", lambda o: L.CosineAnnealingLR(o, 40, 0.01), n=41, steps=40, final=0.01)
    put("cosine_restarts", "t0_7_mult2", lambda o: L.CosineAnnealingWarmRestarts(o, 7, 2, 0.001), t0=7, mult=2, final=0.001)
    put("linear", "down", lambda o: L.LinearLR(o, 1.0, 0.1, 30), start=1.0, end=0.1, steps=30)
    put("linear", "up", lambda o: L.LinearLR(o, 0.2, 1.0, 10), start=0.2, end=1.0, steps=10)
    put("polynomial", "power_2", lambda o: L.PolynomialLR(o, 40, 2.0), steps=40, power=2.0)
    put("one_cycle", "default", lambda o: L.OneCycleLR(o, 0.5, total_steps=50), peak=0.5, steps=50, start_fraction=0.3, div=25.0, final_div=1e4, anneal="cos", three_phase=False)
    put("one_cycle", "custom", lambda o: L.OneCycleLR(o, 0.5, total_steps=50, pct_start=0.4, div_factor=10, final_div_factor=100), peak=0.5, steps=50,
        start_fraction=0.4, div=10.0, final_div=100.0, anneal="cos", three_phase=False)
    put("one_cycle", "linear", lambda o: L.OneCycleLR(o, 0.5, total_steps=50, anneal_strategy="linear"), peak=0.5, steps=50, start_fraction=0.3, div=25.0,
        final_div=1e4, anneal="linear", three_phase=False)
    put("warmup_cosine", "ten", lambda o: L.SequentialLR(o, [L.LinearLR(o, 0.1, 1.0, 9), L.CosineAnnealingLR(o, 40)], [10]), warmup=10, steps=50, final=0)
    u = noise(77, 50).tolist()
    metric = [round(1 / (1 + i) + 0.3 * (i > 15) + 0.05 * v, 4) for i, v in enumerate(u)]
    put("reduce_on_plateau", "default", lambda o: L.ReduceLROnPlateau(o, factor=0.5, patience=3), metric=metric, factor=0.5, patience=3)
    put("reduce_on_plateau", "cooldown", lambda o: L.ReduceLROnPlateau(o, factor=0.2, patience=2, cooldown=4, min_lr=0.002), metric=metric, factor=0.2, patience=2, cooldown=4, min_lr=0.002)
    put("reduce_on_plateau", "absolute", lambda o: L.ReduceLROnPlateau(o, factor=0.5, patience=3, threshold=0.05, threshold_mode="abs"), metric=metric, factor=0.5, patience=3, threshold=0.05, absolute=True)
    put("reduce_on_plateau", "max", lambda o: L.ReduceLROnPlateau(o, mode="max", factor=0.5, patience=3), metric=metric, factor=0.5, patience=3, max=True)
    f.write()


def main():
    rules()
    schedules()


if __name__ == "__main__":
    main()
