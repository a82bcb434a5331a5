"""Training steps of GPTs in PyTorch on a GPU, for `run.sh speed`, with its options:
python3 pytorch_gpu_step.py [batch=32] [modes=eager,compiled,checkpointed] [layers=12] [width=768] [length=1024].

Same shape, mixed precision (bf16 autocast, float32 weights), rotary positions, AdamW and vocabulary as bench/src/gpu/speed.ts.
"""
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

given = dict(word.split("=", 1) for word in sys.argv[1:])
LAYERS, WIDTH, LENGTH = (int(given.get(name, otherwise)) for name, otherwise in (("layers", 12), ("width", 768), ("length", 1024)))
VOCABULARY = 50304
HEADS = WIDTH // 64


def rotary(length):
    """Cosines and sines of every place's angles."""
    angle = torch.outer(torch.arange(length), 10000 ** (-torch.arange(32) / 32))
    return angle.cos().bfloat16(), angle.sin().bfloat16()


def turn(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, HEADS, 64).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(turn(q, cos, sin), turn(k, cos, sin), v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, WIDTH))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Transformer(nn.Module):
    def __init__(self, is_checkpointed):
        super().__init__()
        self.is_checkpointed = is_checkpointed
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        cos, sin = rotary(LENGTH)
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)

    def forward(self, tokens, targets):
        x = self.tokens(tokens)
        for block in self.blocks:
            if self.is_checkpointed:
                x = checkpoint(block, x, self.cos, self.sin, use_reentrant=False)
            else:
                x = block(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))


def run(batch, mode):
    torch.manual_seed(1)
    model = Transformer(mode == "checkpointed").cuda()
    forward = torch.compile(model) if mode == "compiled" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    tokens = torch.randint(VOCABULARY, (batch, LENGTH + 1), device="cuda")

    def step():
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = forward(tokens[:, :-1], tokens[:, 1:].contiguous())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(3):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for _ in range(10):
        step()
    torch.cuda.synchronize()
    step_ms = (time.perf_counter() - start) * 100
    print(json.dumps({
        "who": f"PyTorch {torch.__version__} {mode}",
        "layers": LAYERS,
        "width": WIDTH,
        "length": LENGTH,
        "batch": batch,
        "tokensPerSecond": round(1000 * batch * LENGTH / step_ms),
        "stepMs": round(step_ms, 3),
        "peakGiB": round(torch.cuda.max_memory_allocated() / 2**30, 2),
    }), flush=True)


if __name__ == "__main__":
    for mode in given.get("modes", "eager,compiled").split(","):
        try:
            run(int(given.get("batch", 32)), mode)
        except torch.cuda.OutOfMemoryError:
            print(json.dumps({"who": f"PyTorch {mode}", "layers": LAYERS, "width": WIDTH, "length": LENGTH, "outOfMemory": True}), flush=True)
        torch.cuda.empty_cache()
