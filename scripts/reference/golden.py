"""Golden runs: ten training steps of whole models, models/testdata/golden.json, and
the losses of the same steps in bfloat16 and in float16 with a scaled loss,
models/testdata/golden_bf16.json and golden_fp16.json.

Nothing large is stored. A parameter is given by its shape, a stream of the
number formula (common.py) and a scale: value = offset + scale * noise(seed, i),
one float32 multiplication and one float32 addition, so that any program gets the
same bits. Batches are made the same way, from streams 10000 + 10 k (inputs) and
10001 + 10 k (targets), where k = step mod 2: two batches take turns, so that the
losses fall and a wrong update shows. Stored are ten losses, of the first step's gradients
the sum, the L2 norm and the first 16 values, and buffers and parameter norms
after the last step. PyTorch computes in float64, and for the other files in float32
with autocast.
"""

import json
import math
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from common import ROOT, labels, noise, number

STEPS = 10
SCALE = 1024.0  # of the loss in float16


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 48), nn.Linear(48, 10)])

    def forward(self, x):
        return self.layers[1](F.relu(self.layers[0](x)))


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (f(x).view(b, t, self.heads, c // self.heads).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, t, c))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, vocabulary=65, block=16, width=32, heads=4, layers=2):
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(block, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids):
        x = self.token(ids) + self.position.weight[: ids.shape[1]]
        for b in self.blocks:
            x = b(x)
        return self.head(self.norm(x))


class Residual(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        if stride != 1 or i != o:
            self.shortcut_conv, self.shortcut_bn = nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "shortcut_conv"):
            x = self.shortcut_bn(self.shortcut_conv(x))
        return F.relu(x + y)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.blocks = nn.ModuleList([Residual(8, 8, 1), Residual(8, 16, 2)])
        self.out = nn.Linear(16, 10)

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x)))
        for b in self.blocks:
            x = b(x)
        return self.out(x.mean((2, 3)))


class ZooGPT(nn.Module):
    """models.GPT: one projection for query, key and value, the output weight tied
    to the embedding, the names of GPT-2."""

    def __init__(self, vocabulary=65, block=16, width=32, heads=4, layers=2):
        super().__init__()
        self.heads = heads
        self.transformer = t = nn.Module()
        t.wte, t.wpe = nn.Embedding(vocabulary, width), nn.Embedding(block, width)
        t.h = nn.ModuleList()
        for _ in range(layers):
            b = nn.Module()
            b.ln_1, b.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            b.attn, b.mlp = nn.Module(), nn.Module()
            b.attn.c_attn, b.attn.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            b.mlp.c_fc, b.mlp.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            t.h.append(b)
        t.ln_f = nn.LayerNorm(width)

    def forward(self, ids):
        t = self.transformer
        x = t.wte(ids) + t.wpe.weight[: ids.shape[1]]
        n, l, e = x.shape
        for b in t.h:
            q, k, v = (p.view(n, l, self.heads, -1).transpose(1, 2) for p in b.attn.c_attn(b.ln_1(x)).split(e, 2))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + b.attn.c_proj(y.transpose(1, 2).reshape(n, l, e))
            x = x + b.mlp.c_proj(F.gelu(b.mlp.c_fc(b.ln_2(x)), approximate="tanh"))
        return t.ln_f(x) @ t.wte.weight.T


class ZooBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.stride, self.widen = stride, o - i

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        x = x[:, :, :: self.stride, :: self.stride]
        half = self.widen // 2
        return F.relu(y + F.pad(x, (0, 0, 0, 0, half, self.widen - half)))


class ZooResNet(nn.Module):
    """models.ResNet of depth 8: shortcuts without parameters (He et al., option A)."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.ModuleList([ZooBlock(16, 16, 1)])
        self.layer2 = nn.ModuleList([ZooBlock(16, 32, 2)])
        self.layer3 = nn.ModuleList([ZooBlock(32, 64, 2)])
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for blocks in (self.layer1, self.layer2, self.layer3):
            x = blocks[0](x)
        return self.fc(x.mean((2, 3)))


class LSTM(nn.Module):
    def __init__(self, vocabulary=40, width=32, layers=2):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, num_layers=layers, batch_first=True)
        self.decoder = nn.Linear(width, vocabulary)

    def forward(self, ids):
        return self.decoder(self.lstm(self.embed(ids))[0])


def parameter(seed, name, p):
    """The formula's recipe for a parameter."""
    scale, offset = 1.0 / math.sqrt(max(1, p[0].numel() if p.dim() > 1 else p.numel())), 0.0
    if any(n in name for n in ("norm", "bn", "ln_")):
        scale, offset = 0.1, 1.0 if name.endswith("weight") else 0.0
    elif name in ("token.weight", "position.weight", "embed.weight"):
        scale = 0.5
    elif name.endswith(("wte.weight", "wpe.weight")):
        scale = 0.2
    return {"shape": list(p.shape), "seed": seed, "scale": float(np.float32(scale)), "offset": offset}


def run(name, model, optimizer, settings, x, y, classes, tokens=False, clip=None, low=None):
    """x and y: the shapes of a batch; integers if the model takes identifiers."""
    dtype = torch.float32 if low else torch.float64
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, enabled=low == torch.float16)
    model = model.to(dtype).train()
    params = {}
    with torch.no_grad():
        for i, (n, p) in enumerate(model.named_parameters()):
            q = parameter(i + 1, n, p)
            v = noise(q["seed"], *p.shape).to(torch.float32) * np.float32(q["scale"])
            p.copy_(v.to(torch.float32) + np.float32(q["offset"]))
            params[n] = q
    opt = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer](model.parameters(), **settings)
    out, grads = [], {}
    for t in range(STEPS):
        k = t % 2
        a = labels(10000 + 10 * k, classes, *x) if tokens else noise(10000 + 10 * k, *x).to(dtype)
        b = labels(10001 + 10 * k, classes, *y)
        # oneDNN has no LSTM of float16.
        with torch.autocast("cpu", low, enabled=low is not None), torch.backends.mkldnn.flags(enabled=low != torch.float16):
            loss = F.cross_entropy(model(a).flatten(0, -2), b.flatten())
        opt.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        if t == 0:
            for n, p in model.named_parameters():
                g = p.grad.reshape(-1)
                grads[n] = {"sum": number(g.sum().item()), "norm": number(g.norm().item()), "first": [number(v) for v in g[:16].tolist()]}
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(opt)
        scaler.update()
        out.append(number(loss.item()))
    if low:
        assert not scaler.is_enabled() or scaler.get_scale() == SCALE
        print("%-18s %s" % (name, " ".join("%.4f" % v for v in out)))
        return {"name": name, "losses": out}
    c = {"name": name, "optimizer": optimizer, "args": settings, "x": list(x), "y": list(y), "classes": classes, "tokens": tokens, "params": params, "losses": out, "grads": grads,
         "after": {n: number(p.norm().item()) for n, p in model.named_parameters()}}
    if clip:
        c["clip_norm"] = clip
    buffers = {n: [number(v) for v in b.reshape(-1).tolist()] for n, b in model.named_buffers() if b.dtype == torch.float64}
    if buffers:
        c["buffers"] = buffers
    print("%-18s %s" % (name, " ".join("%.4f" % v for v in out)))
    return c


def runs(**kw):
    gpt = {"lr": 1e-3, "weight_decay": 0.1, "betas": [0.9, 0.95]}
    return [
        run("mlp", MLP(), "adam", {"lr": 1e-3}, (16, 64), (16,), 10, **kw),
        run("lenet", LeNet(), "sgd", {"lr": 0.05, "momentum": 0.9}, (8, 1, 28, 28), (8,), 10, **kw),
        run("gpt", ZooGPT(), "adamw", gpt, (4, 16), (4, 16), 65, tokens=True, **kw),
        run("gpt_untied", GPT(), "adamw", gpt, (4, 16), (4, 16), 65, tokens=True, **kw),
        run("resnet", ZooResNet(), "sgd", {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-3}, (4, 3, 12, 12), (4,), 10, **kw),
        run("resnet_projection", ResNet(), "sgd", {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True}, (4, 3, 12, 12), (4,), 10, **kw),
        run("lstm", LSTM(), "adam", {"lr": 1e-2}, (3, 12), (3, 12), 40, tokens=True, clip=0.25, **kw),
    ]


def write(name, about, cases):
    path = os.path.join(ROOT, "models/testdata", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as w:
        w.write('{"about": "%s", "torch": %s,\n"runs": [\n' % (about, json.dumps(torch.__version__.split("+")[0])))
        w.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases))
        w.write("\n]}\n")
    print("models/testdata/" + name, os.path.getsize(path), "bytes")


def main():
    write("golden.json", "ten training steps of whole models", runs())
    write("golden_bf16.json", "their losses with autocast to bfloat16", runs(low=torch.bfloat16))
    write("golden_fp16.json", "their losses with autocast to float16 and a scaled loss", runs(low=torch.float16))


if __name__ == "__main__":
    main()
