"""Kernels of PyTorch on a GPU beside ours, for `bench kernels --backend cuda`. One JSON request a line, one answer a line:
{"sizes": {...}} first, then {"kernel": name} or {"product": {"m", "k", "n", "way"}}. Several ways to compute a thing are all timed, and the fastest answers."""

import functools
import json
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

BF16, F32 = torch.bfloat16, torch.float32
REPEATS = 20
# Long enough that the host has asked for everything before the device begins.
AHEAD_CYCLES = 20_000_000
S = {}
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.benchmark = True


def draw(*shape, dtype=F32):
    return torch.randn(shape, device="cuda", dtype=F32).to(dtype)


def time_of(run):
    for _ in range(3):
        run()
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    torch.cuda._sleep(AHEAD_CYCLES)
    first.record()
    for _ in range(REPEATS):
        run()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / REPEATS


def stream(dtype=F32):
    return draw(S["batch"], S["time"], S["heads"] * S["dim"], dtype=dtype)


def width():
    return S["heads"] * S["dim"]


def rows():
    return S["batch"] * S["time"]


@functools.cache
def compiled(f):
    return torch.compile(f, dynamic=False)


def norm(x, w, b):
    return F.layer_norm(x, (x.shape[-1],), w, b).to(BF16)


def add_norm(x, r, w, b):
    total = x + r
    return total, norm(total, w, b)


def norm_backward():
    x, w, b, g = stream(), draw(width()), draw(width()), stream()
    _, mean, inverse = torch.ops.aten.native_layer_norm(x, (width(),), w, b, 1e-5)
    return {"eager": lambda: torch.ops.aten.native_layer_norm_backward(g, x, (width(),), mean, inverse, w, b, [True] * 3)}


def turn(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def rope():
    both = draw(S["batch"], S["time"], 2 * S["heads"], S["dim"], dtype=BF16).permute(0, 2, 1, 3)
    half = S["dim"] // 2
    angle = torch.outer(torch.arange(S["time"], device="cuda"), 10000 ** (-torch.arange(half, device="cuda") / half))
    cos, sin = angle.cos().to(BF16), angle.sin().to(BF16)
    fast = compiled(turn)
    return {"eager": lambda: turn(both, cos, sin), "compiled": lambda: fast(both, cos, sin)}


def loss(x, t):
    return F.cross_entropy(x.float(), t, reduction="sum")


def cross_entropy():
    logits = draw(S["chunk"], S["classes"], dtype=BF16).requires_grad_()
    targets = torch.zeros(S["chunk"], device="cuda", dtype=torch.long)
    fast = compiled(loss)

    def both(f):
        logits.grad = None
        f(logits, targets).backward()

    return {"eager": lambda: both(loss), "compiled": lambda: both(fast)}


def adamw():
    p = draw(S["classes"], width()).requires_grad_()
    p.grad = draw(S["classes"], width())
    optimizer = torch.optim.AdamW([p], lr=1e-6, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    return {"fused": optimizer.step}


def heads():
    shape = (S["batch"], S["heads"], S["time"], S["dim"])
    return [draw(*shape, dtype=BF16).requires_grad_() for _ in range(3)]


def attention(is_backward):
    q, k, v = heads()
    ways = {}
    for name, backend in (("cuDNN attention", SDPBackend.CUDNN_ATTENTION), ("flash attention", SDPBackend.FLASH_ATTENTION)):
        try:
            with sdpa_kernel(backend):
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            g = torch.randn_like(y)
            if is_backward:
                ways[name] = lambda y=y, g=g: torch.autograd.grad(y, (q, k, v), g, retain_graph=True)
            else:

                # As a step calls it, and as ours is: the log-sum-exp is kept for the gradients, 1 % of the time.
                def forward(backend=backend):
                    with sdpa_kernel(backend):
                        F.scaled_dot_product_attention(q, k, v, is_causal=True)

                ways[name] = forward
        except RuntimeError:
            pass
    return ways


def up(x, w, b):
    before = F.linear(x, w, b)
    return F.gelu(before, approximate="tanh"), before


def gelu_linear():
    operands = draw(rows(), width(), dtype=BF16), draw(4 * width(), width(), dtype=BF16), draw(4 * width(), dtype=BF16)
    return of(up, *operands, compiles=True)


def back_to_up(g, w, before):
    by = torch.ops.aten.gelu_backward(g @ w, before, approximate="tanh")
    return by, by.sum(0)


def gelu_linear_backward():
    g, w = draw(rows(), width(), dtype=BF16), draw(width(), 4 * width(), dtype=BF16)
    return of(back_to_up, g, w, draw(rows(), 4 * width(), dtype=BF16), compiles=True)


def of(f, *operands, compiles=False):
    ways = {"eager": lambda: f(*operands)}
    if compiles:
        fast = compiled(f)
        ways["compiled"] = lambda: fast(*operands)
    return ways


def convolution(way, dtype):
    """In float32 as such, as ours is; channels last too, which tensor cores read faster."""
    side = -(-S["time"] // 32)
    x, w = draw(S["batch"], 2 * S["dim"], side, side, dtype=dtype), draw(2 * S["dim"], 2 * S["dim"], 3, 3, dtype=dtype)
    mask = {"input": [True, False, False], "weight": [False, True, False]}.get(way)

    def run(x, w):
        if mask is None:
            return lambda: F.conv2d(x, w, padding=1)
        return lambda: torch.ops.aten.convolution_backward(x, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask)

    last = [t.contiguous(memory_format=torch.channels_last) for t in (x, w)]
    return {"eager": run(x, w), "eager, channels last": run(*last)}


KERNELS = {
    "add": lambda: of(torch.add, stream(), stream()),
    "cast": lambda: of(lambda x: x.to(BF16), stream()),
    "layerNorm": lambda: of(norm, stream(), draw(width()), draw(width()), compiles=True),
    "layerNormBackward": norm_backward,
    "addNorm": lambda: of(add_norm, stream(), stream(BF16), draw(width()), draw(width()), compiles=True),
    "gelu": lambda: of(lambda x: F.gelu(x, approximate="tanh"), draw(rows(), 4 * width(), dtype=BF16)),
    "sum of rows, 4 widths": lambda: of(lambda x: x.sum(0), draw(rows(), 4 * width(), dtype=BF16)),
    "sum of rows": lambda: of(lambda x: x.sum(0), draw(rows(), width(), dtype=BF16)),
    "dropout": lambda: of(lambda x: F.dropout(x, 0.1), stream(BF16)),
    "rope": rope,
    "softmax": lambda: of(lambda x: x.softmax(-1), draw(S["chunk"], S["classes"], dtype=BF16)),
    "crossEntropyWithGradient": cross_entropy,
    "adamw": adamw,
    "attention": lambda: attention(False),
    "attentionBackward": lambda: attention(True),
    "linear with bias and GELU": gelu_linear,
    "linearActivationBackward": gelu_linear_backward,
    "convolution in f32": lambda: convolution("forward", F32),
    "convolution by the input in f32": lambda: convolution("input", F32),
    "convolution by the weight in f32": lambda: convolution("weight", F32),
    "convolution in bf16": lambda: convolution("forward", BF16),
    "convolution by the input in bf16": lambda: convolution("input", BF16),
    "convolution by the weight in bf16": lambda: convolution("weight", BF16),
}


def product(m, k, n, way):
    x, w, g = draw(m, k, dtype=BF16), draw(n, k, dtype=BF16), draw(m, n, dtype=BF16)
    return {"forward": lambda: x @ w.t(), "input": lambda: g @ w, "weight": lambda: g.t() @ x}[way]


def answer(request):
    if "sizes" in request:
        S.update(request["sizes"])
        torch.zeros(1, device="cuda")
        return {}
    if "product" in request:
        return {"timeMs": time_of(product(**request["product"])), "how": "eager"}
    ways = KERNELS.get(request["kernel"], dict)()
    timed = {}
    for name, run in ways.items():
        try:
            timed[name] = time_of(run)
        except Exception as error:  # a way that this machine does not have
            print(f"{request['kernel']}, {name}: {str(error)[:200]}", file=sys.stderr, flush=True)
    if not timed:
        return {}
    how = min(timed, key=timed.get)
    return {"timeMs": timed[how], "how": how}


for line in sys.stdin:
    found = answer(json.loads(line))
    torch.cuda.empty_cache()
    print(json.dumps(found), flush=True)
