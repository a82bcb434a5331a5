"""PyTorch's attention on a GPU, flash and cuDNN, forward and backward in bfloat16: the shapes of `sh run.sh attention-speed`
(bench/src/gpu/attention.ts). Medians of interleaved rounds; TFLOP/s count 4 products of the scores under the mask forward, 10 backward."""

import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SHAPES = [(32, 12, 1024, 64, True), (4, 16, 4096, 64, True), (1, 16, 16384, 64, True), (4, 16, 4096, 128, True), (4, 16, 4096, 128, False)]
WAYS = {"flash": SDPBackend.FLASH_ATTENTION, "cuDNN": SDPBackend.CUDNN_ATTENTION}
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 7


def elapsed(run, runs):
    first, second = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    for _ in range(runs):
        run()
    second.record()
    second.synchronize()
    return first.elapsed_time(second) / runs


print(torch.cuda.get_device_name(), "PyTorch", torch.__version__, "cuDNN", torch.backends.cudnn.version())
for batch, heads, length, dim, causal in SHAPES:
    q, k, v, gradient = (torch.randn(batch, heads, length, dim, device="cuda", dtype=torch.bfloat16) for _ in range(4))
    for x in (q, k, v):
        x.requires_grad_()
    turns = []
    for name, backend in WAYS.items():

        def forward(backend=backend):
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

        output = forward()

        def backward(output=output):
            return torch.autograd.grad(output, (q, k, v), gradient, retain_graph=True)

        # Forward keeps the log-sum-exp for the gradients, as ours does.
        turns += [("forward", name, 4, forward, []), ("backward", name, 10, backward, [])]
    for _, _, _, run, _ in turns:
        run()
    for _ in range(ROUNDS):
        for _, _, _, run, times in turns:
            once = elapsed(run, 1)
            times.append(elapsed(run, max(1, min(20, int(10 / once)))))
    for what, name, flops, _, times in turns:
        ms = statistics.median(times)
        work = flops * batch * heads * length * length * dim / (2 if causal else 1)
        mask = "causal" if causal else "full"
        print(f"{batch} x {heads} x {length} x {dim} {mask} {what}, PyTorch {name}: {ms:.3f} ms, {work / ms / 1e9:.0f} TFLOP/s")
