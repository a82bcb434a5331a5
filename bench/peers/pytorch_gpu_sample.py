"""Greedy decoding of GPTs in PyTorch on a GPU, for `run.sh sampling`, with its options:
python3 pytorch_gpu_sample.py [batch=1,64] [modes=eager,compiled] [layers=12] [width=768] [length=1024] [tokens=256].

Same shape, prompt and count of tokens as bench/src/gpu/sampling.ts: weights in bfloat16, rotary positions, keys and values kept in a static
cache of `length` places, the place on the device, the likeliest token fed back on the device. Here the prompt goes through token by token, where
`run.sh sampling` reads it in one pass; times are a step's in both. Attention goes through all places of the cache, under a mask.
`compiled` is torch.compile(mode="reduce-overhead", fullgraph=True): fused kernels in a CUDA graph.
"""
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

given = dict(word.split("=", 1) for word in sys.argv[1:])
LAYERS, WIDTH, LENGTH, TOKENS = (int(given.get(name, otherwise)) for name, otherwise in (("layers", 12), ("width", 768), ("length", 1024), ("tokens", 256)))
VOCABULARY = 50304
HEADS = WIDTH // 64
PROMPT = 8
REPEATS = 5


def turn(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Block(nn.Module):
    def __init__(self, batch):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.register_buffer("keys", torch.zeros(batch, HEADS, LENGTH, 64, dtype=torch.bfloat16))
        self.register_buffer("values", torch.zeros(batch, HEADS, LENGTH, 64, dtype=torch.bfloat16))

    def forward(self, x, cos, sin, place, seen):
        b = x.shape[0]
        q, k, v = self.qkv(self.norm1(x)).view(b, 1, 3, HEADS, 64).permute(2, 0, 3, 1, 4)
        self.keys.index_copy_(2, place, turn(k, cos, sin))
        self.values.index_copy_(2, place, v)
        y = F.scaled_dot_product_attention(turn(q, cos, sin), self.keys, self.values, attn_mask=seen)
        x = x + self.out(y.transpose(1, 2).reshape(b, 1, WIDTH))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Transformer(nn.Module):
    def __init__(self, batch):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block(batch) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        angle = torch.outer(torch.arange(LENGTH), 10000 ** (-torch.arange(32) / 32))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        self.register_buffer("places", torch.arange(LENGTH))

    def forward(self, tokens, place):
        """tokens [b, 1], place [1] -> the likeliest next tokens [b, 1]"""
        x = self.tokens(tokens)
        cos, sin = self.cos[place], self.sin[place]
        seen = (self.places <= place).view(1, 1, 1, LENGTH)
        for block in self.blocks:
            x = block(x, cos, sin, place, seen)
        return F.linear(self.norm(x), self.tokens.weight)[:, -1].argmax(-1, keepdim=True)


@torch.no_grad()
def run(batch, mode):
    torch.manual_seed(1)
    model = Transformer(batch).cuda().bfloat16().eval()
    step = torch.compile(model, mode="reduce-overhead", fullgraph=True) if mode == "compiled" else model
    prompt = torch.tensor([[(977 * i + 331 * k) % VOCABULARY for k in range(PROMPT)] for i in range(batch)], device="cuda")

    def decode():
        place = torch.zeros(1, dtype=torch.long, device="cuda")
        found = []
        token = prompt[:, :1]
        for n in range(PROMPT + TOKENS - 1):
            token = step(token.contiguous(), place).clone()
            place += 1
            if n + 1 < PROMPT:
                token = prompt[:, n + 1 : n + 2]
            else:
                found.append(token)
        return torch.cat(found, dim=1).cpu()

    for _ in range(2):
        decode()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        decode()
        times.append((time.perf_counter() - start) * 1000 / (PROMPT + TOKENS - 1))
    ms = sorted(times)[REPEATS // 2]
    print(json.dumps({
        "who": f"PyTorch {torch.__version__} {mode}",
        "layers": LAYERS,
        "width": WIDTH,
        "batch": batch,
        "length": LENGTH,
        "tokens": TOKENS,
        "tokensPerSecond": round(1000 * batch / ms),
        "millisecondsPerToken": round(ms, 4),
        "peakGiB": round(torch.cuda.max_memory_allocated() / 2**30, 2),
    }), flush=True)


if __name__ == "__main__":
    for batch in given.get("batch", "1,64").split(","):
        for mode in given.get("modes", "eager,compiled").split(","):
            run(int(batch), mode)
            torch.compiler.reset()
            torch.cuda.empty_cache()
