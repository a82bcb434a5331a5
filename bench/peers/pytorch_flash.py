"""Causal flash attention of PyTorch on a GPU, forward and backward, for the suite `attention`. One JSON request a line, one answer a line."""

import json
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def measure(tokens, heads, dim):
    shape = (1, heads, tokens, dim)
    q, k, v, gradient = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(4))
    for x in (q, k, v):
        x.requires_grad_()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    start = time.perf_counter()
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.cuda.synchronize()
    middle = time.perf_counter()
    y.backward(gradient)
    torch.cuda.synchronize()
    end = time.perf_counter()
    return {
        "timeMs": 1000 * (end - start),
        "forwardMs": 1000 * (middle - start),
        "peakBytes": torch.cuda.max_memory_allocated(),
        "keysPerQuery": (tokens + 1) / 2,
    }


warmed = False
for line in sys.stdin:
    request = json.loads(line)
    tokens, heads, dim = request["tokens"], request["heads"], request["dim"]
    if not warmed:
        measure(tokens, heads, dim)
        warmed = True
    answer = measure(tokens, heads, dim)
    torch.cuda.empty_cache()
    print(json.dumps(answer), flush=True)
