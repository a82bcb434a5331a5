"""What a second stream could win in the backward pass of a transformer's blocks, measured with PyTorch's kernels on the shapes of our steps:
python3 pytorch_gpu_lanes.py [batch=32,8] [layers=12] [width=768] [length=1024] [rounds=9].

Every schedule is the same kernels on the same numbers, captured once as a CUDA graph. Nothing reads what another kernel wrote, so only the
schedule says what may run beside what, and no numbers go astray where it allows more than a training step would. Kernels of a block and branch:

  rebuild    norm, products forward, attention forward (exact reversible mode alone)
  chain      products for input gradients, attention backward, norm backward: each needs the one before
  weights    products for weight gradients, column sums for bias gradients: nobody waits for them

Schedules (lanes are streams, joined by events as stream capture makes edges of them):

  one        everything in one chain, as a training step is captured
  weights    weights on a second lane, joined after each block
  weights-   the same, the second lane of lower priority: it fills what the chain leaves
  late       as weights-, joined only after the last block
  sums       column sums and casts alone on the second lane
  rebuild    the rebuilding of block i - 1 on a second lane beside the gradient of block i
  rebuild-   the same, of lower priority
  both       rebuilding on a second lane, weights on a third
  branches   all kernels of block i and i - 1 that could run beside each other do: four lanes

One JSON line a shape: medians of interleaved rounds, milliseconds a block, and each schedule's time as a share of `one`'s.
"""

import json
import statistics
import sys

import torch

given = dict(word.split("=", 1) for word in sys.argv[1:])
LAYERS, WIDTH, LENGTH, ROUNDS = (
    int(given.get(name, otherwise)) for name, otherwise in (("layers", 12), ("width", 768), ("length", 1024), ("rounds", 9))
)
BF16, F32 = torch.bfloat16, torch.float32
HEADS = WIDTH // 64
LOW, HIGH = 0, -1  # priorities: lower numbers go first


def draw(*shape, dtype=BF16):
    return torch.randn(shape, device="cuda", dtype=F32).mul_(0.1).to(dtype)


class Linear:
    """Operands and results of one linear layer's three products."""

    def __init__(self, rows, inputs, outputs):
        self.x, self.w, self.g = draw(rows, inputs), draw(outputs, inputs), draw(rows, outputs)
        self.y, self.dx = torch.empty_like(self.g), torch.empty_like(self.x)
        self.dw = torch.empty(outputs, inputs, device="cuda", dtype=BF16)
        self.db = torch.empty(outputs, device="cuda", dtype=F32)
        self.master = draw(outputs, inputs, dtype=F32)
        self.cast_to = torch.empty_like(self.w)

    def forward(self):
        torch.mm(self.x, self.w.t(), out=self.y)

    def back(self):
        torch.mm(self.g, self.w, out=self.dx)

    def weights(self):
        torch.mm(self.g.t(), self.x, out=self.dw)

    def sums(self):
        torch.sum(self.g, 0, dtype=F32, out=self.db)

    def cast(self):
        self.cast_to.copy_(self.master)


class Norm:
    """A pass over streams that moves what our fused norms move: 14 bytes an element forward, 16 backward."""

    def __init__(self, rows):
        self.a, self.b, self.h = draw(rows, WIDTH, dtype=F32), draw(rows, WIDTH, dtype=F32), draw(rows, WIDTH)
        self.out, self.low = torch.empty_like(self.a), torch.empty_like(self.h)

    def forward(self):
        torch.add(self.a, self.h, out=self.out)
        self.low.copy_(self.a)

    back = forward


class Attention:
    def __init__(self, batch):
        self.q, self.k, self.v = (draw(batch, HEADS, LENGTH, 64) for _ in range(3))
        self.saved = torch.ops.aten._scaled_dot_product_flash_attention(self.q, self.k, self.v, 0.0, True)
        self.g = torch.randn_like(self.saved[0])

    def forward(self):
        torch.ops.aten._scaled_dot_product_flash_attention(self.q, self.k, self.v, 0.0, True)

    def back(self):
        out, lse, cum_q, cum_k, max_q, max_k, seed, offset, _ = self.saved
        torch.ops.aten._scaled_dot_product_flash_attention_backward(
            self.g, self.q, self.k, self.v, out, lse, cum_q, cum_k, max_q, max_k, 0.0, True, seed, offset
        )


class Block:
    def __init__(self, batch):
        rows = batch * LENGTH
        shapes = {"qkv": (WIDTH, 3 * WIDTH), "out": (WIDTH, WIDTH), "up": (WIDTH, 4 * WIDTH), "down": (4 * WIDTH, WIDTH)}
        self.of = {name: Linear(rows, *shape) for name, shape in shapes.items()}
        self.norm, self.attention = Norm(rows), Attention(batch)

    def casts(self):
        return [linear.cast for linear in self.of.values()]

    def rebuild(self):
        of = self.of
        up = [self.norm.forward, of["up"].forward, of["down"].forward]
        return up + [self.norm.forward, of["qkv"].forward, self.attention.forward, of["out"].forward]

    def gradient(self):
        """(kernel of the chain, kernels that it lets begin): program order."""
        of = self.of
        late = {name: ([linear.weights], [linear.sums]) for name, linear in of.items()}
        yield None, late["down"]
        yield of["down"].back, late["up"]
        yield of["up"].back, ([], [])
        yield self.norm.back, late["out"]
        yield of["out"].back, ([], [])
        yield self.attention.back, late["qkv"]
        yield of["qkv"].back, ([], [])
        yield self.norm.back, ([], [])


class Lanes:
    """Streams that a capture forks into; `at` runs kernels on a lane, `after` orders a lane behind what another was asked for so far."""

    def __init__(self, priorities):
        self.main = torch.cuda.current_stream()
        self.streams = [self.main] + [torch.cuda.Stream(priority=p) for p in priorities]

    def at(self, lane, kernels):
        with torch.cuda.stream(self.streams[lane]):
            for kernel in kernels:
                kernel()

    def after(self, lane, other):
        if lane != other:
            self.streams[lane].wait_stream(self.streams[other])


# rebuild, weights, sums and casts: the lane of each; when weights are joined; whether rebuilding runs ahead; priorities of the other lanes.
SCHEDULES = {
    "one": ((0, 0, 0), "block", []),
    "weights": ((0, 1, 1), "block", [HIGH]),
    "weights-": ((0, 1, 1), "block", [LOW]),
    "late": ((0, 1, 1), "end", [LOW]),
    "sums": ((0, 0, 1), "block", [LOW]),
    "rebuild": ((1, 0, 0), "block", [HIGH]),
    "rebuild-": ((1, 0, 0), "block", [LOW]),
    "both": ((1, 2, 2), "block", [HIGH, LOW]),
    "branches": ((1, 2, 3), "block", [HIGH, HIGH, HIGH]),
}


def issue(schedule, blocks, is_exact):
    (rebuilding, weights, sums), joined, priorities = SCHEDULES[schedule]
    lanes = Lanes(priorities)
    used = {rebuilding, weights, sums} - {0}
    is_ahead = is_exact and rebuilding != 0
    rebuild = lambda block: lanes.at(rebuilding, block.rebuild()) if is_exact else None
    if is_ahead:
        lanes.after(rebuilding, 0)
        rebuild(blocks[0])
        lanes.after(0, rebuilding)
    for i, block in enumerate(blocks):
        if is_ahead and i + 1 < len(blocks):
            lanes.after(rebuilding, 0)
            rebuild(blocks[i + 1])
        lanes.after(sums, 0)
        if is_exact:
            lanes.at(sums, block.casts())
        if not is_ahead:
            rebuild(block)
        for kernel, (products, columns) in block.gradient():
            if kernel is not None:
                lanes.at(0, [kernel])
            for lane, kernels in ((weights, products), (sums, columns)):
                if kernels:
                    lanes.after(lane, 0)
                    lanes.at(lane, kernels)
        for lane in used:
            if joined == "block" or i == len(blocks) - 1:
                lanes.after(0, lane)
    for lane in used:
        lanes.after(0, lane)


def capture(schedule, blocks, is_exact):
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream(priority=HIGH)
    with torch.cuda.stream(stream):
        issue(schedule, blocks, is_exact)
        torch.cuda.synchronize()
        graph.capture_begin()
        issue(schedule, blocks, is_exact)
        graph.capture_end()
    return graph


def time_of(graph):
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    first.record()
    graph.replay()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last)


def measure(batch):
    # Two blocks in turn: their weights and activations do not fit into the cache, as those of more would not.
    two = [Block(batch), Block(batch)]
    blocks = [two[i % 2] for i in range(LAYERS)]
    for mode in ("ordinary", "exact"):
        names = [name for name in SCHEDULES if mode == "exact" or name in ("one", "weights", "weights-", "late", "sums")]
        graphs = {name: capture(name, blocks, mode == "exact") for name in names}
        for graph in graphs.values():
            graph.replay()
        torch.cuda.synchronize()
        times = {name: [] for name in names}
        for _ in range(ROUNDS):
            for name in names:
                times[name].append(time_of(graphs[name]))
        medians = {name: statistics.median(found) for name, found in times.items()}
        shares = {name: round(statistics.median(t / o for t, o in zip(times[name], times["one"])), 4) for name in names}
        print(json.dumps({
            "who": f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}",
            "mode": mode, "batch": batch, "length": LENGTH, "width": WIDTH, "layers": LAYERS,
            "msABlock": {name: round(t / LAYERS, 4) for name, t in medians.items()},
            "shareOfOne": shares,
        }), flush=True)


if __name__ == "__main__":
    for size in given.get("batch", "32,8").split(","):
        measure(int(size))
        torch.cuda.empty_cache()
