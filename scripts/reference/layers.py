"""Reference values of the nn package: activations, losses, layers."""

import torch
import torch.nn as nn
import torch.nn.functional as F

from common import File, Rand, noise, tensor

NAN, INF = float("nan"), float("inf")


def activations():
    f = File("nn/testdata/activations.json", "activation functions")
    r = Rand(1000)
    special = torch.tensor([0.0, -0.0, 1, -1, 3, -3, 6, 7, -20, 20, 50, -50, 100, -100, INF, -INF, NAN])
    plain = {
        "relu": F.relu, "relu6": F.relu6, "selu": F.selu, "silu": F.silu, "mish": F.mish, "hardswish": F.hardswish,
        "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "leaky_relu": lambda x: F.leaky_relu(x, 0.01), "elu": F.elu, "softplus": F.softplus,
    }
    for op, fn in plain.items():
        x = r(4, 11, lo=-5, hi=5)
        f.case(op, "random", [x], fn)
        f.case(op, "far", [torch.tensor([-30.0, -12.5, -7, 7, 12.5, 30])], fn)
        s = special
        if op in ("silu", "mish", "gelu", "gelu_tanh", "hardswish"):  # -inf * 0 differs between formulas
            s = s[s != -INF]
        f.case(op, "special", [s], fn, grad=False, single=True)
    f.case("relu", "at_zero", [torch.tensor([0.0, -0.0])], F.relu, smooth=False)
    f.case("leaky_relu", "slope", [r(9)], lambda x: F.leaky_relu(x, 0.2), slope=0.2)
    f.case("elu", "alpha", [r(9)], lambda x: F.elu(x, 0.7), alpha=0.7)
    f.case("softmax", "last", [r(3, 5)], lambda x: x.softmax(-1), axis=-1)
    f.case("log_softmax", "last", [r(3, 5)], lambda x: x.log_softmax(-1), axis=-1)
    f.case("glu", "last", [r(3, 6)], lambda x: F.glu(x, -1), axis=-1)
    f.case("glu", "axis_1", [r(2, 4, 3)], lambda x: F.glu(x, 1), axis=1)

    def swiglu(x):
        a, b = x.chunk(2, -1)
        return F.silu(a) * b

    f.case("swiglu", "last", [r(3, 6)], swiglu, axis=-1)
    f.write()


def losses():
    f = File("nn/testdata/losses.json", "loss functions")
    r = Rand(2000)

    def case(op, name, inputs, fn, **o):
        f.case(op, name, inputs, lambda *t: fn(*t, **o), **o)

    x, y = r(4, 3), r(4, 3)
    case("mse", "random", [x, y], F.mse_loss)
    case("l1", "random", [x, y], F.l1_loss)
    for d in (0.5, 1.0, 2.0):
        case("huber", "delta_%g" % d, [x, y], F.huber_loss, delta=d)
        case("smooth_l1", "beta_%g" % d, [x, y], F.smooth_l1_loss, beta=d)
    p, t = r(4, 3, lo=0.05, hi=0.95), r(4, 3, lo=0, hi=1)
    case("bce", "random", [p, t], F.binary_cross_entropy)
    f.case("bce", "saturated", [torch.tensor([0.0, 1, 0, 1]), torch.tensor([0.0, 1, 1, 0])], lambda a, b: F.binary_cross_entropy(a, b.detach()), grad=False)
    case("bce_with_logits", "random", [x, t], F.binary_cross_entropy_with_logits)
    f.case("bce_with_logits", "huge", [torch.tensor([100.0, -100, 1000, -1000]), torch.tensor([0.0, 1, 1, 0])],
           F.binary_cross_entropy_with_logits)
    case("bce_with_logits_weighted", "random", [x, t, r(3, lo=0.5, hi=3)], lambda a, b, w: F.binary_cross_entropy_with_logits(a, b, pos_weight=w.detach()))
    logp = r(4, 5, lo=-4, hi=-0.1)
    ids = r.ints(0, 5, 4)
    case("nll", "random", [logp, ids], F.nll_loss)
    case("nll", "rank3", [r(2, 5, 3, lo=-4, hi=0), r.ints(0, 5, 2, 3)], F.nll_loss)
    case("cross_entropy", "random", [r(4, 5), ids], F.cross_entropy)
    q = r(4, 5, lo=0.1, hi=1)
    case("kl_div", "random", [logp, q], F.kl_div)
    case("kl_div_batch_mean", "random", [logp, q], lambda a, b: F.kl_div(a, b, reduction="batchmean"))
    f.case("kl_div", "zero_target", [logp, torch.where(q > 0.5, q, torch.zeros(()))], lambda a, b: F.kl_div(a, b.detach()), smooth=False)
    sign = torch.tensor([1, -1, 1, -1], dtype=torch.float32)

    def fixed(fn):  # the target is ±1 and has no gradient
        return lambda *t, **o: fn(*t[:-1], t[-1].detach(), **o)

    case("cosine_embedding", "margin", [x, y, sign], fixed(F.cosine_embedding_loss), margin=0.1)
    case("margin_ranking", "margin", [r(4), r(4), sign], fixed(F.margin_ranking_loss), margin=0.3)
    case("triplet_margin", "default", [x, y, r(4, 3)], F.triplet_margin_loss, margin=1.0)
    case("triplet_margin", "margin", [x, y, r(4, 3)], F.triplet_margin_loss, margin=0.2)
    case("hinge_embedding", "margin", [r(4), sign], fixed(F.hinge_embedding_loss), margin=1.0)

    def hinge(a, b):  # Keras
        return F.relu(1 - a * b.detach()).mean()

    case("hinge", "random", [r(4), sign], hinge)
    case("poisson_nll", "log", [x, r(4, 3, lo=0, hi=4)], F.poisson_nll_loss)
    f.write()


class Layers(File):
    """Cases of layers: the state dict goes in, gradients of the parameters and
    the buffers after the call come out."""

    def layer(self, op, name, module, inputs, call=None, mode="train", steps=1, **args):
        r = Rand(sum(map(ord, op + name)) * 100)
        module = module.double()
        state = {}
        with torch.no_grad():
            for n, p in module.state_dict().items():
                if p.dtype == torch.float64:
                    lo, hi = (0.5, 1.5) if "running_var" in n else (-0.7, 0.7)
                    v = r(*p.shape, lo=lo, hi=hi)
                    p.copy_(v)
                    state[n] = tensor(v, is_input=True)
        module.train(mode == "train")
        run = [t.double().requires_grad_(True) if t.dtype == torch.float32 else t for t in inputs]
        for _ in range(steps):
            out = call(module, *run) if call else module(*run)
            if not isinstance(out, (list, tuple)):
                out = [out]
        c = {"op": op, "name": name, "args": {"mode": mode, "steps": steps} | args, "state": state, "in": [tensor(t, is_input=True) for t in inputs]}
        loss = sum((o * noise(j + 1, *o.shape)).sum() for j, o in enumerate(out) if o.dtype == torch.float64)
        params = dict(module.named_parameters())
        floats = [t for t in run if t.dtype == torch.float64]
        got = torch.autograd.grad(loss, floats + list(params.values()), allow_unused=True)
        got = list(got)

        def put(t, like):
            j = tensor(torch.zeros_like(like) if t is None else t, digest=True)
            j["d"] = "float32"
            return j

        c["out"] = [put(o, o) if o.dtype == torch.float64 else tensor(o) for o in out]
        c["grad"] = [put(got.pop(0), t) if t.dtype == torch.float64 else None for t in run]
        c["state_grad"] = {n: put(got.pop(0), p) for n, p in params.items()}
        buffers = {n: put(b, b) for n, b in module.named_buffers() if b.dtype == torch.float64}
        if buffers:
            c["state_after"] = buffers
        self.put(c)


def flat(y, h):
    """What a recurrent layer gives: all steps, then the last states."""
    return [y, *h] if isinstance(h, tuple) else [y, h]


class RMSNorm(nn.Module):
    def __init__(self, n, eps):
        super().__init__()
        self.weight, self.n, self.eps = nn.Parameter(torch.ones(n)), n, eps

    def forward(self, x):
        return F.rms_norm(x, (self.n,), self.weight, self.eps)


def layers():
    f = Layers("nn/testdata/layers.json", "layers with their state: outputs, gradients, buffers afterwards")
    r = Rand(3000)
    f.layer("linear", "bias", nn.Linear(4, 3), [r(5, 4)], size=[4, 3], bias=True)
    f.layer("linear", "no_bias", nn.Linear(4, 3, bias=False), [r(2, 3, 4)], size=[4, 3], bias=False)
    for n, o in {"plain": {}, "stride_pad": {"stride": 2, "padding": 1}, "dilation": {"dilation": 2}, "groups": {"groups": 2}}.items():
        f.layer("conv1d", n, nn.Conv1d(4, 6, 3, **o), [r(2, 4, 9)], size=[4, 6, 3], **o)
        f.layer("conv2d", n, nn.Conv2d(4, 6, 3, **o), [r(2, 4, 7, 6)], size=[4, 6, 3], **o)
    f.layer("conv2d", "no_bias", nn.Conv2d(2, 3, 3, bias=False), [r(1, 2, 5, 5)], size=[2, 3, 3], bias=False)
    f.layer("conv_transpose2d", "plain", nn.ConvTranspose2d(3, 2, 3), [r(2, 3, 4, 4)], size=[3, 2, 3])
    f.layer("conv_transpose2d", "stride", nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1), [r(2, 3, 4, 3)], size=[3, 2, 3], stride=2, padding=1, output_padding=1)
    f.layer("max_pool2d", "k2", nn.MaxPool2d(2), [r.distinct(2, 2, 6, 4)], size=[2])
    f.layer("avg_pool2d", "k2", nn.AvgPool2d(2), [r(2, 2, 6, 4)], size=[2])
    f.layer("global_avg_pool2d", "mean", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), [r(2, 3, 4, 5)])
    f.layer("global_max_pool2d", "max", nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), [r.distinct(2, 3, 4, 5)])
    f.layer("flatten", "from_1", nn.Flatten(), [r(2, 3, 2)])
    for mode in ("train", "eval"):
        f.layer("batch_norm2d", mode, nn.BatchNorm2d(3), [r(4, 3, 2, 2)], mode=mode, size=[3])
        f.layer("batch_norm1d", mode, nn.BatchNorm1d(3), [r(5, 3)], mode=mode, size=[3])
    f.layer("batch_norm1d", "rank3", nn.BatchNorm1d(3), [r(2, 3, 4)], size=[3])
    f.layer("batch_norm2d", "three_steps", nn.BatchNorm2d(2), [r(3, 2, 2, 3)], steps=3, size=[2])
    f.layer("layer_norm", "one_axis", nn.LayerNorm(5), [r(3, 4, 5)], size=[5])
    f.layer("layer_norm", "two_axes", nn.LayerNorm((4, 5)), [r(3, 4, 5)], size=[4, 5])
    f.layer("rms_norm", "one_axis", RMSNorm(5, 1e-5), [r(3, 4, 5)], size=[5], eps=1e-5)
    f.layer("group_norm", "two", nn.GroupNorm(2, 4), [r(2, 4, 3, 3)], size=[2, 4])
    f.layer("embedding", "ids", nn.Embedding(7, 3), [r.ints(0, 7, 2, 4)], size=[7, 3])
    f.layer("prelu", "channels", nn.PReLU(3), [r(2, 3, 4)], size=[3])
    f.layer("prelu", "one", nn.PReLU(1), [r(2, 3, 4)], size=[1])

    for kind, cls in (("rnn", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)):
        for n in (1, 2):
            for bi in (False, True):
                m = cls(3, 4, num_layers=n, bidirectional=bi, batch_first=True)

                f.layer(kind, "layers_%d%s" % (n, "_bidirectional" if bi else ""), m, [r(2, 5, 3, lo=-1, hi=1)], lambda m, x: flat(*m(x)), size=[3, 4], layers=n, bidirectional=bi)
        m = cls(3, 4, batch_first=True)
        hs = [r(1, 2, 4, lo=-1, hi=1) for _ in range(2 if kind == "lstm" else 1)]
        f.layer(kind, "initial_state", m, [r(2, 5, 3, lo=-1, hi=1), *hs],
                lambda m, x, *h: flat(*m(x, h if len(h) == 2 else h[0])), size=[3, 4], layers=1, bidirectional=False)
    f.layer("rnn", "relu", nn.RNN(3, 4, nonlinearity="relu", batch_first=True), [r(2, 5, 3)], lambda m, x: flat(*m(x)), size=[3, 4], layers=1, bidirectional=False, relu=True)
    f.layer("lstm", "one_step", nn.LSTM(3, 4, batch_first=True), [r(2, 1, 3)], lambda m, x: flat(*m(x)), size=[3, 4], layers=1, bidirectional=False)

    for n, causal, bias in (("plain", False, True), ("causal", True, True), ("no_bias", False, False)):
        m = nn.MultiheadAttention(8, 2, batch_first=True, bias=bias)
        mask = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if causal else None  # true = may not attend
        f.layer("multi_head_attention", n, m, [r(2, 5, 8, lo=-1, hi=1)], lambda m, x: m(x, x, x, attn_mask=mask, need_weights=False)[0], size=[8, 2], causal=causal, bias=bias)
    m = nn.MultiheadAttention(8, 2, batch_first=True)
    f.layer("multi_head_attention", "cross", m, [r(2, 3, 8, lo=-1, hi=1), r(2, 5, 8, lo=-1, hi=1)], lambda m, x, y: m(x, y, y, need_weights=False)[0], size=[8, 2], causal=False, bias=True)
    for n, pre in (("post_norm", False), ("pre_norm", True)):
        m = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True, norm_first=pre)
        f.layer("transformer_encoder_layer", n, m, [r(2, 4, 8, lo=-1, hi=1)], size=[8, 2, 12], norm_first=pre)
    f.write()


def main():
    activations()
    losses()
    layers()


if __name__ == "__main__":
    main()
