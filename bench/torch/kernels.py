"""PyTorch's side of bench/kernels: reads cases as lines of JSON (rig.Case) and
answers with the time of a call.

    echo '{"op":"gemm","mode":"NN","dims":[512,512,512],"seconds":1}' | python bench/torch/kernels.py

Images are channels_last. Results go to memory that is there already wherever an
operation can be told so (out=), so that kernels are compared and not allocators.
"""

import argparse
import json
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F

aten = torch.ops.aten


DEVICE = "cpu"


def prepare(op, dims, mode="", bf16=False, seconds=0):
    """A function that does the case once; None if there is none."""
    dtype = torch.bfloat16 if bf16 else torch.float32

    def rand(*shape):
        return (torch.rand(*shape, device=DEVICE) * 2 - 1).to(dtype)

    def images(*shape):
        return rand(*shape).to(memory_format=torch.channels_last)

    if op == "gemm":
        m, n, k = dims
        a = rand(k, m).t() if mode[0] == "T" else rand(m, k)
        b = rand(n, k).t() if mode[1] == "T" else rand(k, n)
        out = rand(m, n)
        return lambda: torch.mm(a, b, out=out)
    if op == "bmm":
        batch, m, n, k = dims
        a, b, out = rand(batch, m, k), rand(batch, k, n), rand(batch, m, n)
        return lambda: torch.bmm(a, b, out=out)
    if op == "conv":
        n, ins, outs, size, window, stride, padding, groups = dims
        x, w = images(n, ins, size, size), images(outs, ins // groups, window, window)
        if mode == "forward":
            return lambda: F.conv2d(x, w, None, stride, padding, 1, groups)
        g = F.conv2d(x, w, None, stride, padding, 1, groups)
        mask = [mode == "input", mode == "weights", False]
        return lambda: aten.convolution_backward(g, x, w, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, mask)
    if op == "softmax":
        x, out = rand(*dims), rand(*dims)
        return lambda: torch.softmax(x, -1, out=out)
    if op == "layernorm":
        rows, columns = dims
        x, gamma, beta, out = rand(rows, columns), rand(columns), rand(columns), rand(rows, columns)
        mean, rstd = rand(rows, 1), rand(rows, 1)
        return lambda: aten.native_layer_norm.out(x, [columns], gamma, beta, 1e-5, out0=out, out1=mean, out2=rstd)
    if op == "gelu-backward":
        x, g, out = rand(*dims), rand(*dims), rand(*dims)
        return lambda: aten.gelu_backward(g, x, grad_input=out)
    if op == "adamw":
        p = torch.nn.Parameter(rand(*dims))
        p.grad = rand(*dims)
        return torch.optim.AdamW([p], lr=1e-3, weight_decay=0.1, fused=True).step
    if op == "copy":
        x, out = rand(*dims), rand(*dims)
        return lambda: out.copy_(x)
    if op == "mlp-forward":
        batch, inputs, hidden, outputs = dims
        net = torch.nn.Sequential(torch.nn.Linear(inputs, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, outputs)).eval().to(DEVICE)
        x = torch.rand(batch, inputs, device=DEVICE)
        return lambda: net(x)
    return None


def timing(run, seconds):
    """As rig.Time: samples of at least 0.3 ms for the given time, on a GPU of 10 ms and
    with a wait at the end."""
    clock = time.perf_counter
    on_gpu = DEVICE != "cpu"
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    run()
    wait()
    calls = 1
    while True:
        began = clock()
        for _ in range(calls):
            run()
        wait()
        if clock() - began >= (10e-3 if on_gpu else 300e-6):
            break
        calls *= 2
    took, end = [], clock() + seconds
    while not took or clock() < end:
        began = clock()
        for _ in range(calls):
            run()
        wait()
        took.append((clock() - began) / calls)
    return {"median": statistics.median(took), "best": min(took)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--device", default="cpu", help="cpu, or a CUDA device as cuda:0")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    global DEVICE
    DEVICE = a.device
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    last, run = None, None
    with torch.inference_mode():
        for line in sys.stdin:
            if line != last:
                run = None  # what the case before needed is freed first
                case = json.loads(line)
                run, last = prepare(**case), line
            answer = timing(run, case["seconds"]) if run else {"median": 0, "best": 0, "missing": True}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
