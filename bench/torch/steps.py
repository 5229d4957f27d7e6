"""PyTorch's side of bench/steps: the same networks with the same initial weights on
the same batches, with the optimizer and the loss of the Go side, timed in the same
windows and answering in the same lines (bench/internal/rig). Its loss after ten steps
is therefore the Go side's.

    go run ./bench/steps -model gpt -export gpt.safetensors
    python bench/torch/steps.py --model gpt --job gpt.safetensors --compile
    python bench/torch/steps.py --model gpt2 --job gpt2.safetensors --compile --bf16 --device cuda:0

bench/compare runs both sides in turns.

The networks are written as a PyTorch user would write them to be fast on a
processor: scaled_dot_product_attention, nn.LSTM, channels_last images for the
convolutions, optimizers in their fused form. With --compile forward and loss go
through torch.compile, and with them the backward pass; with --bf16 forward and loss
run under autocast.
"""

import argparse
import json
import os
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file

COMPARE_AT = 10  # rig.CompareAt
VOCAB = 65


class MLP(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.hidden = nn.Linear(32 * 7 * 7, 128)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.out(F.relu(self.hidden(x.flatten(1))))


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


class ResidualBlock(nn.Module):
    def __init__(self, ins, outs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(ins, outs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outs)
        self.conv2 = nn.Conv2d(outs, outs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outs)
        self.stride, self.widen = stride, outs - ins

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.widen:
            x = F.pad(x, (0, 0, 0, 0, self.widen // 2, self.widen - self.widen // 2))
        return F.relu(y + x)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)

        def stage(ins, outs, stride):
            return nn.Sequential(*(ResidualBlock(outs if i else ins, outs, 1 if i else stride) for i in range(3)))

        self.layer1, self.layer2, self.layer3 = stage(16, 16, 1), stage(16, 32, 2), stage(32, 64, 2)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class Bottleneck(nn.Module):
    def __init__(self, ins, width, stride):
        super().__init__()
        outs = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(ins, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outs, 1, bias=False), nn.BatchNorm2d(outs)
        if ins != outs or stride != 1:
            self.short, self.short_bn = nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs)
        else:
            self.short = None

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        if self.short is not None:
            x = self.short_bn(self.short(x))
        return F.relu(y + x)


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)

        def stage(ins, width, n, stride):
            return nn.Sequential(*(Bottleneck(4 * width if i else ins, width, 1 if i else stride) for i in range(n)))

        self.layer1, self.layer2 = stage(64, 64, 3, 1), stage(256, 128, 4, 2)
        self.layer3, self.layer4 = stage(512, 256, 6, 2), stage(1024, 512, 3, 2)
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class LSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 256)
        self.lstm = nn.LSTM(256, 256, 2, batch_first=True)
        self.decoder = nn.Linear(256, VOCAB)

    def forward(self, ids):
        return self.decoder(self.lstm(self.embed(ids))[0])


class Attention(nn.Module):
    def __init__(self, embed, heads):
        super().__init__()
        self.c_attn = nn.Linear(embed, 3 * embed)
        self.c_proj = nn.Linear(embed, embed)
        self.heads = heads

    def forward(self, x):
        b, t, e = x.shape
        q, k, v = (z.view(b, t, self.heads, e // self.heads).transpose(1, 2) for z in self.c_attn(x).split(e, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(b, t, e))


class FeedForward(nn.Module):
    def __init__(self, embed):
        super().__init__()
        self.c_fc = nn.Linear(embed, 4 * embed)
        self.c_proj = nn.Linear(4 * embed, embed)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, embed, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(embed), nn.LayerNorm(embed)
        self.attn, self.mlp = Attention(embed, heads), FeedForward(embed)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, block, layers, heads, embed, vocab=VOCAB):
        super().__init__()
        self.transformer = nn.ModuleDict(dict(
            wte=nn.Embedding(vocab, embed),
            wpe=nn.Embedding(block, embed),
            h=nn.ModuleList(Block(embed, heads) for _ in range(layers)),
            ln_f=nn.LayerNorm(embed),
        ))
        self.lm_head = nn.Linear(embed, vocab, bias=False)
        self.lm_head.weight = self.transformer.wte.weight

    def forward(self, ids):
        t = self.transformer
        x = t.wte(ids) + t.wpe.weight[: ids.shape[1]]
        for h in t.h:
            x = h(x)
        return self.lm_head(t.ln_f(x))


def adam(params):
    return torch.optim.Adam(params, lr=1e-3, fused=True)


def adamw(params):
    return torch.optim.AdamW(params, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True)


# name: (network, optimizer, the largest norm of the gradients or None). The batch
# size comes with the batches.
JOBS = {
    "mlp-small": (lambda: MLP(784, 128, 10), lambda p: torch.optim.SGD(p, lr=0.01, fused=True), None),
    "mlp": (lambda: MLP(784, 512, 512, 10), adam, None),
    "cnn": (CNN, adam, None),
    "lenet": (LeNet, adam, None),
    "resnet20": (ResNet20, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True), None),
    "lstm": (LSTM, adam, 1.0),
    "gpt": (lambda: GPT(64, 4, 4, 128), adamw, 1.0),
    "gpt-large": (lambda: GPT(256, 6, 6, 384), adamw, 1.0),
    "gpt2": (lambda: GPT(1024, 12, 12, 768, 50257), adamw, 1.0),
    "resnet50": (ResNet50, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True), None),
}


def load(net, state):
    """Gives a network the exported weights; every weight must be among them."""
    missing, _ = net.load_state_dict({k: v for k, v in state.items() if k not in ("x", "y")}, strict=False)
    missing = [k for k in missing if k != "lm_head.weight"]  # tied to wte
    if missing:
        sys.exit(f"the job has no values for {missing}")


def resident():
    """What is resident now and the peak since it was reset, in bytes; 0 elsewhere than on Linux."""
    try:
        fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    except OSError:
        return 0, 0
    return tuple(1024 * int(fields[k].split()[0]) for k in ("VmRSS", "VmHWM"))


def reset_peak():
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        pass
    return resident()[0]


def peak_tensors(step, state_bytes):
    """The most bytes that tensors held during steps: what was there before them, and
    the running sum of what the allocator handed out and took back, as the profiler
    recorded it."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as p:
        for _ in range(3):
            step()
    events = sorted((e.start_ns(), e.nbytes()) for e in p.profiler.kineto_results.events() if e.name() == "[memory]")
    now = peak = 0
    for _, n in events:
        now += n
        peak = max(peak, now)
    return state_bytes + peak


def say(**report):
    print(json.dumps(report), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, choices=JOBS)
    p.add_argument("--job", required=True, help="what bench/steps -export wrote")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--compile", action="store_true")
    p.add_argument("--bf16", action="store_true")
    p.add_argument("--device", default="cpu", help="cpu, or a CUDA device as cuda:0; in float32 its products take TF32 only with --tf32")
    p.add_argument("--tf32", action="store_true")
    p.add_argument("--warmup", type=float, default=1, help="seconds before the first window")
    p.add_argument("--window", type=float, default=2, help="seconds")
    p.add_argument("--windows", type=int, default=3, help="number of windows; the median counts")
    p.add_argument("--serve", action="store_true", help="make a window for each line on standard input and answer in JSON")
    a = p.parse_args()

    torch.set_num_threads(a.threads)
    state = load_file(a.job)
    on_gpu = a.device != "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = a.tf32
    xs, ys = list(state["x"].unbind(0)), list(state["y"].unbind(0))
    if on_gpu:
        # As a loader does it: the batches lie pinned in the host's memory and are copied
        # while the step before is computed.
        xs, ys = [x.pin_memory() for x in xs], [y.pin_memory() for y in ys]
    make, optimizer, clip = JOBS[a.model]
    images = xs[0].dim() == 4
    if images:
        xs = [x.contiguous(memory_format=torch.channels_last) for x in xs]
    net = make()
    load(net, state)
    if images:
        net = net.to(memory_format=torch.channels_last)
    net = net.to(a.device)
    params = list(net.parameters())
    opt = optimizer(params)

    def loss_of(x, y):
        with torch.autocast("cuda" if on_gpu else "cpu", torch.bfloat16, enabled=a.bf16):
            logits = net(x)
            return F.cross_entropy(logits.view(-1, logits.shape[-1]), y.view(-1))

    def update():
        if clip is not None:
            nn.utils.clip_grad_norm_(params, clip, foreach=True)
        opt.step()

    if a.compile:
        loss_of = torch.compile(loss_of)

    made = 0

    def step():
        nonlocal made
        i = made % len(xs)
        loss = loss_of(xs[i].to(a.device, non_blocking=True), ys[i].to(a.device, non_blocking=True))
        loss.backward()
        update()
        opt.zero_grad(set_to_none=True)
        made += 1
        return loss.item()

    before = reset_peak()
    began = time.perf_counter()
    start = {"first_loss": step(), "first_s": time.perf_counter() - began}
    while made < COMPARE_AT or time.perf_counter() - began < a.warmup:
        loss = step()
        if made == COMPARE_AT:
            start["loss"] = loss

    rates, cpus = [], []

    def window():
        cpu, began, steps = time.process_time(), time.perf_counter(), 0
        while (elapsed := time.perf_counter() - began) < a.window:
            step()
            steps += 1
        rates.append(steps / elapsed)
        cpus.append(1e3 * (time.process_time() - cpu) / steps)

    if a.serve:
        say(**start)
        for _ in sys.stdin:
            window()
            say(rate=rates[-1], cpu_ms=cpus[-1])
    else:
        for _ in range(a.windows):
            window()

    grown = resident()[1] - before
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        for _ in range(3):
            step()
    held = [t for q in params for t in (q, *opt.state[q].values())] + list(net.buffers())
    tensors = torch.cuda.max_memory_allocated() if on_gpu else peak_tensors(step, sum(t.nbytes for t in held))
    memory = {"tensors_mib": tensors / 2**20, "resident_mib": grown / 2**20}
    if a.serve:
        say(**memory)
        return
    kind = ("compile" if a.compile else "eager") + (", bfloat16" if a.bf16 else "")
    print(f"{statistics.median(rates):.2f} steps/s  torch {torch.__version__} {kind}, {a.threads} threads, {a.model}: "
          f"{a.windows} windows, {min(rates):.2f} to {max(rates):.2f}; {statistics.median(cpus):.3f} ms of processor time a step; "
          f"first step {start['first_s']:.3f} s; loss {start['first_loss']:.4f}, after {COMPARE_AT} steps {start['loss']:.4f}; "
          f"{memory['tensors_mib']:.1f} MiB in tensors, {memory['resident_mib']:.1f} MiB resident")


if __name__ == "__main__":
    main()
