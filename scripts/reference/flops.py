"""Floating-point operations of forward passes as torch.utils.flop_counter counts them:
those of matrix products, convolutions and attention, two for each multiplication."""

import json
import os

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from common import ROOT


def count(model, *x):
    with FlopCounterMode(display=False) as c:
        with torch.no_grad():
            model(*x)
    return c.get_total_flops()


def lenet(x=28, channels=1, classes=10):
    left = (x // 2 - 4) // 2
    return nn.Sequential(nn.Conv2d(channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(16 * left * left, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes))


class Block(nn.Module):
    def __init__(self, n, out, stride):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(n, out, 3, stride, 1, bias=False), nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(out), nn.BatchNorm2d(out)
        self.stride, self.widen = stride, out - n

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        x = x[:, :, ::self.stride, ::self.stride]
        return F.relu(y + F.pad(x, (0, 0, 0, 0, self.widen // 2, self.widen - self.widen // 2)))


def resnet(depth):
    n, layers, c = (depth - 2) // 6, [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for out, stride in ((16, 1), (32, 2), (64, 2)):
        for _ in range(n):
            layers.append(Block(c, out, stride))
            c, stride = out, 1
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class GPT(nn.Module):
    """Embeddings, pre-norm blocks of causal attention and MLP, tied output."""

    def __init__(self, vocab, block, layers, heads, width):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(block, width)
        self.h = nn.ModuleList(nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width),
                                              "fc": nn.Linear(width, 4 * width), "out": nn.Linear(4 * width, width),
                                              "n1": nn.LayerNorm(width), "n2": nn.LayerNorm(width)}) for _ in range(layers))
        self.norm, self.heads = nn.LayerNorm(width), heads

    def forward(self, ids):
        b, t = ids.shape
        x = self.wte(ids) + self.wpe(torch.arange(t))
        for h in self.h:
            q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in h["qkv"](h["n1"](x)).chunk(3, -1))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, -1)
            x = x + h["proj"](y)
            x = x + h["out"](F.gelu(h["fc"](h["n2"](x)), approximate="tanh"))
        return F.linear(self.norm(x), self.wte.weight)


def main():
    ids = torch.zeros(2, 48, dtype=torch.long)
    cases = {
        "lenet": count(lenet(), torch.zeros(4, 1, 28, 28)),
        "resnet20": count(resnet(20), torch.zeros(1, 3, 32, 32)),
        "resnet32": count(resnet(32), torch.zeros(2, 3, 32, 32)),
        "gpt": count(GPT(65, 64, 3, 4, 96), ids),
        "mlp": count(nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)), torch.zeros(7, 784)),
        "conv_grouped": count(nn.Conv2d(8, 12, (3, 5), stride=2, padding=1, dilation=1, groups=4), torch.zeros(3, 8, 17, 19)),
        "conv_transpose": count(nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1), torch.zeros(2, 6, 9, 9)),
        "conv1d": count(nn.Conv1d(5, 7, 4, padding=2, dilation=2), torch.zeros(2, 5, 31)),
        "encoder": count(nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True).train(), torch.zeros(2, 10, 32)),
    }
    with open(os.path.join(ROOT, "models/testdata/flops.json"), "w") as f:
        json.dump({"torch": torch.__version__, "flops": cases}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
