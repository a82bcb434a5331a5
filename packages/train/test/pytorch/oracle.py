"""The layers, models and optimizers of RevNet-Zero once more, in plain PyTorch: the answers that the tests compare with.

Reads one JSON request a line, answers one a line. Arrays are {"shape": [...], "data": [...]}; parameters carry the names
they have in RevNet-Zero.
"""

import json
import sys
import traceback

try:
    import torch
    import torch.nn.functional as F
except Exception as error:
    sys.exit(f"no torch: {error!r}")

torch.set_num_threads(1)


def tensor(array, floats=torch.float32):
    dtype = torch.int64 if array.get("dtype") == "i32" else floats
    return torch.tensor(array["data"], dtype=dtype).reshape(array["shape"])


def plain(t):
    return t.detach().reshape(-1).to(torch.float64).tolist()


class Parameters:
    """Parameters by name, seen from one module."""

    def __init__(self, table, prefix=""):
        self.table, self.prefix = table, prefix

    def __getitem__(self, name):
        return self.table[self.prefix + name]

    def get(self, name):
        return self.table.get(self.prefix + name)

    def __truediv__(self, name):
        return Parameters(self.table, self.prefix + name + ".")


def linear(p, x, options):
    return F.linear(x, p["weight"], p.get("bias"))


def embedding(p, tokens, options):
    return F.embedding(tokens, p["weight"])


def learned_positions(p, x, options):
    return x + p["weight"][: x.shape[-2]]


def layer_norm(p, x, options):
    return F.layer_norm(x, x.shape[-1:], p["weight"], p["bias"], 1e-5)


def rms_norm(p, x, options):
    return F.rms_norm(x, x.shape[-1:], p["weight"], 1e-6)


def rotate(x, base=10000.0):
    """Rotary positions on [batch, heads, time, dim]: coordinate i turns with i + dim / 2."""
    time, dim = x.shape[-2:]
    half = dim // 2
    frequencies = base ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(time, dtype=torch.float64)[:, None] * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def attention(p, x, options):
    heads, key_heads = options["numHeads"], options.get("numKeyValueHeads", options["numHeads"])
    batch, time, _ = x.shape
    rows = linear(p / "qkv", x, {})
    dim = rows.shape[-1] // (heads + 2 * key_heads)
    q, k, v = rows.split([heads * dim, key_heads * dim, key_heads * dim], dim=-1)
    q, k, v = (t.reshape(batch, time, -1, dim).transpose(1, 2) for t in (q, k, v))
    if options.get("rotary"):
        q, k = rotate(q), rotate(k)
    k, v = (t.repeat_interleave(heads // key_heads, dim=1) for t in (k, v))
    places = torch.arange(time)
    distance = places[:, None] - places
    is_seen = (distance >= 0) & (distance < options.get("window", time)) if options.get("isCausal", True) else distance == distance
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=is_seen)
    return linear(p / "out", y.transpose(1, 2).reshape(batch, time, -1), {})


def mlp(p, x, options):
    kind = options.get("kind", "gelu")
    up = linear(p / "up", x, {})
    if kind == "gelu":
        hidden = F.gelu(up, approximate="tanh")
    else:
        gate = linear(p / "gate", x, {})
        hidden = (F.silu(gate) if kind == "swiglu" else F.gelu(gate, approximate="tanh")) * up
    return linear(p / "down", hidden, {})


def norm(p, x, options):
    return (layer_norm if options["norm"] == "layer" else rms_norm)(p, x, {})


def attention_branch(p, x, options):
    inner = {**options, "rotary": options["positions"] == "rotary"}
    return attention(p / "attention", norm(p / "norm", x, options), inner)


def mlp_branch(p, x, options):
    return mlp(p / "mlp", norm(p / "norm", x, options), {"kind": options["mlp"]})


def embed(p, tokens, options):
    x = embedding(p / "embedding" / "tokens", tokens, {})
    return learned_positions(p / "embedding" / "positions", x, {}) if options["positions"] == "learned" else x


def head(p, x, options):
    weight = p["embedding.tokens.weight"] if options["tieEmbeddings"] else p["head.linear.weight"]
    return F.linear(norm(p / "head" / "norm", x, options), weight)


def transformer(p, tokens, options):
    x = embed(p, tokens, options)
    for layer in range(options["numLayers"]):
        block = p / "blocks" / str(layer)
        x = x + attention_branch(block / "attention", x, options)
        x = x + mlp_branch(block / "mlp", x, options)
    return head(p, x, options)


def reversible_transformer(p, tokens, options):
    x = embed(p, tokens, options)
    is_full = options["streams"] == "full"
    a, b = (x, x) if is_full else x.chunk(2, dim=-1)
    for layer in range(options["numLayers"]):
        block = p / "sequence" / "blocks" / str(layer)
        a = a + attention_branch(block / "F", b, options)
        b = b + mlp_branch(block / "G", a, options)
    return head(p, (a + b) * 0.5 if is_full else torch.cat([a, b], dim=-1), options)


def heads_of(t, heads):
    batch, time, width = t.shape
    return t.reshape(batch, time, heads, width // heads).transpose(1, 2)


def multi_head(q, k, v, heads, is_causal):
    y = F.scaled_dot_product_attention(*(heads_of(t, heads) for t in (q, k, v)), is_causal=is_causal)
    return y.transpose(1, 2).reshape(q.shape)


def gpt2(p, tokens, options):
    """GPT-2 by the names and layouts of Hugging Face's files: matrices of layers are [in, out]."""

    def conv1d(p, x):
        return x @ p["weight"] + p["bias"]

    x = p["wte.weight"][tokens] + p["wpe.weight"][: tokens.shape[-1]]
    for layer in range(options["numLayers"]):
        h = p / "h" / str(layer)
        q, k, v = conv1d(h / "attn" / "c_attn", layer_norm(h / "ln_1", x, {})).chunk(3, dim=-1)
        x = x + conv1d(h / "attn" / "c_proj", multi_head(q, k, v, options["numHeads"], True))
        inner = F.gelu(conv1d(h / "mlp" / "c_fc", layer_norm(h / "ln_2", x, {})), approximate="tanh")
        x = x + conv1d(h / "mlp" / "c_proj", inner)
    return layer_norm(p / "ln_f", x, {}) @ p["wte.weight"].T


def vit(p, images, options):
    """ViT by the names of Hugging Face's files."""

    def norm(p, x):
        return F.layer_norm(x, x.shape[-1:], p["weight"], p["bias"], 1e-12)

    projection = p / "vit" / "embeddings" / "patch_embeddings" / "projection"
    patches = F.conv2d(images, projection["weight"], projection["bias"], stride=projection["weight"].shape[-1])
    first = p["vit.embeddings.cls_token"].expand(images.shape[0], -1, -1)
    x = torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1) + p["vit.embeddings.position_embeddings"]
    for layer in range(options["numLayers"]):
        block = p / "vit" / "encoder" / "layer" / str(layer)
        seen = norm(block / "layernorm_before", x)
        q, k, v = (linear(block / "attention" / "attention" / name, seen, {}) for name in ("query", "key", "value"))
        x = x + linear(block / "attention" / "output" / "dense", multi_head(q, k, v, options["numHeads"], False), {})
        inner = F.gelu(linear(block / "intermediate" / "dense", norm(block / "layernorm_after", x), {}))
        x = x + linear(block / "output" / "dense", inner, {})
    return linear(p / "classifier", norm(p / "vit" / "layernorm", x)[:, 0], {})


FUNCTIONS = {
    "Linear": linear,
    "Embedding": embedding,
    "LearnedPositions": learned_positions,
    "LayerNorm": layer_norm,
    "RMSNorm": rms_norm,
    "Attention": attention,
    "MLP": mlp,
    "Transformer": transformer,
    "ReversibleTransformer": reversible_transformer,
    "GPT2": gpt2,
    "ViT": vit,
}


def leaves(request, floats=torch.float32):
    return {name: tensor(array, floats).requires_grad_() for name, array in request["parameters"].items()}


def answer(run):
    """Tensors by name in float64, and the largest relative error of one that PyTorch itself makes in float32."""
    truth, rounded = run(torch.float64), run(torch.float32)
    errors = [(rounded[name].double() - t).norm() / t.norm() for name, t in truth.items()]
    return {"tensors": {name: plain(t) for name, t in truth.items()}, "ownError": max(errors).item()}


def layer(request):
    """Output, and the gradients of sum(output * cotangent) by parameters and input."""

    def run(floats):
        table, x = leaves(request, floats), tensor(request["input"], floats)
        if x.is_floating_point():
            table["input"] = x.requires_grad_()
        y = FUNCTIONS[request["name"]](Parameters(table), x, request["options"])
        (y * tensor(request["cotangent"], floats)).sum().backward()
        return {"output": y.detach(), **{name: t.grad for name, t in table.items()}}

    return answer(run)


def forward(request):
    """Output alone."""

    def run(floats):
        table = {name: tensor(array, floats) for name, array in request["parameters"].items()}
        return {"output": FUNCTIONS[request["name"]](Parameters(table), tensor(request["input"], floats), request["options"])}

    return answer(run)


def loss_of(name, table, tokens, targets, options):
    logits = FUNCTIONS[name](Parameters(table), tokens, options)
    return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


def model(request):
    """Logits, loss and all gradients of a language model."""
    tokens, targets = tensor(request["tokens"]), tensor(request["targets"])

    def run(floats):
        table = leaves(request, floats)
        logits, loss = loss_of(request["name"], table, tokens, targets, request["options"])
        loss.backward()
        return {"logits": logits.detach(), "loss": loss.detach(), **{name: t.grad for name, t in table.items()}}

    return answer(run)


def train(request):
    """The losses of AdamW steps with weight decay on matrices alone and a clipped norm."""
    table, o = leaves(request), request["optimizer"]
    groups = [
        {"params": [t for t in table.values() if t.ndim >= 2], "weight_decay": o["weightDecay"]},
        {"params": [t for t in table.values() if t.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=o["learningRate"], betas=tuple(o["betas"]), eps=o["eps"])
    losses = []
    for batch in request["batches"]:
        optimizer.zero_grad()
        _, loss = loss_of(request["name"], table, tensor(batch["tokens"]), tensor(batch["targets"]), request["options"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(table.values(), o["clipNorm"])
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses}


OPTIMIZERS = {
    "AdamW": lambda p, o: torch.optim.AdamW(
        p, lr=o["learningRate"], betas=(o["beta1"], o["beta2"]), eps=o["eps"], weight_decay=o["weightDecay"]
    ),
    "SGD": lambda p, o: torch.optim.SGD(
        p, lr=o["learningRate"], momentum=o["momentum"], nesterov=o["nesterov"], weight_decay=o["weightDecay"]
    ),
}


def optimize(request):
    """A parameter after steps with given gradients."""
    p = tensor(request["parameter"]).requires_grad_()
    optimizer = OPTIMIZERS[request["name"]]([p], request["options"])
    for gradient in request["gradients"]:
        p.grad = tensor(gradient)
        optimizer.step()
    return {"parameter": plain(p)}


def version(request):
    return {"torch": torch.__version__}


REQUESTS = {"layer": layer, "forward": forward, "model": model, "train": train, "optimize": optimize, "version": version}

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer_line = json.dumps(REQUESTS[request["do"]](request))
    except Exception:
        answer_line = json.dumps({"error": traceback.format_exc()})
    print(answer_line, flush=True)
