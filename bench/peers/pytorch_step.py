"""The training step of the suite `step` in PyTorch, as its documentation recommends for speed: fused scaled dot-product
attention, fused AdamW, autocast and TensorFloat-32 on a GPU, torch.compile where asked for; and a two-stream reversible network
in floats, whose activations are rebuilt. One JSON request a line, one answer a line."""

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

    def attention(self, x, cos, sin):
        batch, time_, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, time_, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        cos, sin = cos.to(q.dtype), sin.to(q.dtype)
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, time_, width))

    def mlp(self, x):
        return self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    def forward(self, x, cos, sin):
        x = x + self.attention(x, cos, sin)
        return x + self.mlp(x)


class Reversible(torch.autograd.Function):
    """y1 = x1 + attention(x2), y2 = x2 + mlp(y1) in every block; backward rebuilds inputs from outputs."""

    @staticmethod
    def forward(ctx, x1, x2, blocks, cos, sin, precision):
        ctx.blocks, ctx.cos, ctx.sin, ctx.precision = blocks, cos, sin, precision
        for block in blocks:
            x1 = x1 + block.attention(x2, cos, sin)
            x2 = x2 + block.mlp(x1)
        ctx.save_for_backward(x1, x2)
        return x1, x2

    @staticmethod
    def backward(ctx, d1, d2):
        y1, y2 = (t.detach() for t in ctx.saved_tensors)
        d1, d2 = d1.clone(), d2.clone()
        for block in reversed(ctx.blocks):
            with torch.enable_grad(), ctx.precision():
                seen = y1.detach().requires_grad_()
                g = block.mlp(seen)
            g.backward(d2.to(g.dtype))
            y2 = y2 - g.detach()
            d1 = d1 + seen.grad
            with torch.enable_grad(), ctx.precision():
                seen = y2.detach().requires_grad_()
                f = block.attention(seen, ctx.cos, ctx.sin)
            f.backward(d1.to(f.dtype))
            y1 = y1 - f.detach()
            d2 = d2 + seen.grad
        return d1, d2, None, None, None, None


class GPT(nn.Module):
    def __init__(self, vocab, layers, width, heads, length, precision, is_reversible):
        super().__init__()
        self.precision, self.is_reversible = precision, is_reversible
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
        if self.is_reversible:
            x1, x2 = Reversible.apply(x, x, self.blocks, self.cos, self.sin, self.precision)
            x = (x1 + x2) / 2
        else:
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
        self.device = device = o["device"]
        if device == "cuda":
            torch.set_float32_matmul_precision("high")
        dtype = {"bf16": torch.bfloat16, "f16": torch.float16}.get(o.get("precision"))
        self.precision = lambda: torch.autocast(device, dtype=dtype, enabled=dtype is not None)
        if "widths" in o:
            self.model = MLP(o["widths"])
            self.batch = lambda: (torch.randn(o["batchSize"], o["widths"][0]), torch.randint(o["widths"][-1], (o["batchSize"],)))
        else:
            shape = (o["batchSize"], o["sequenceLength"])
            sizes = (o["vocabSize"], o["numLayers"], o["dModel"], o["numHeads"], o["sequenceLength"])
            self.model = GPT(*sizes, self.precision, o["mode"] == "reversible")
            self.batch = lambda: tuple(torch.randint(o["vocabSize"], shape) for _ in range(2))
        self.model.to(device)
        matrices = [p for p in self.model.parameters() if p.ndim >= 2]
        vectors = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=True)
        self.forward = torch.compile(self.model) if o["mode"] == "compiled" else self.model
        self.steps(1)  # what compiles does so now

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def steps(self, count):
        batches = [tuple(t.to(self.device) for t in self.batch()) for _ in range(count)]
        self.wait()
        start = time.perf_counter()
        for inputs, targets in batches:
            with self.precision():
                loss = self.forward(inputs, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        self.wait()
        return {"timeMs": 1000 * (time.perf_counter() - start), "loss": loss.item()}

    def report(self):
        return {"peakBytes": torch.cuda.max_memory_allocated() if self.device == "cuda" else None}


trainee = None
for line in sys.stdin:
    request = json.loads(line)
    if "build" in request:
        trainee = Trainee(request["build"])
        answer = {"torch": torch.__version__}
    else:
        answer = trainee.steps(request.get("count", 1)) if "step" in request else trainee.report()
    print(json.dumps(answer), flush=True)
