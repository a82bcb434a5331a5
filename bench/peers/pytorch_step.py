"""The training step of the suite `step` in PyTorch on the CPU, as its documentation recommends for speed: fused scaled
dot-product attention, fused AdamW, torch.compile where asked for. One JSON request a line, one answer a line."""

import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, cos, sin):
        batch, time_, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, time_, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, time_, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, vocab, layers, width, heads, length):
        super().__init__()
        self.tokens = nn.Embedding(vocab, width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        half = width // heads // 2
        angles = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, tokens, targets):
        x = self.tokens(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class MLP(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))

    def forward(self, x, targets):
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return F.cross_entropy(self.layers[-1](x), targets)


class Trainee:
    def __init__(self, o):
        torch.set_num_threads(o["threads"])
        torch.manual_seed(1)
        if "widths" in o:
            self.model = MLP(o["widths"])
            self.batch = lambda: (torch.randn(o["batchSize"], o["widths"][0]), torch.randint(o["widths"][-1], (o["batchSize"],)))
        else:
            shape = (o["batchSize"], o["sequenceLength"])
            self.model = GPT(o["vocabSize"], o["numLayers"], o["dModel"], o["numHeads"], o["sequenceLength"])
            self.batch = lambda: tuple(torch.randint(o["vocabSize"], shape) for _ in range(2))
        matrices = [p for p in self.model.parameters() if p.ndim >= 2]
        vectors = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=True)
        self.forward = torch.compile(self.model) if o["mode"] == "compiled" else self.model
        self.step()  # what compiles does so now

    def step(self):
        inputs, targets = self.batch()
        start = time.perf_counter()
        loss = self.forward(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {"timeMs": 1000 * (time.perf_counter() - start), "loss": loss.item()}


trainee = None
for line in sys.stdin:
    request = json.loads(line)
    if "build" in request:
        trainee = Trainee(request["build"])
        print(json.dumps({"torch": torch.__version__}), flush=True)
    else:
        print(json.dumps(trainee.step()), flush=True)
