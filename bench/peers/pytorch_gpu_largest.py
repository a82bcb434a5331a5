"""The largest batch and the longest sequence of a GPT in PyTorch that make a training step, for `run.sh largest`, with its shape:
python3 pytorch_gpu_largest.py [modes=compiled,checkpointed] [axes=batch,length] [width=768] [layers=12].

Peaks of two small steps give a line; where that meets the memory that is free is tried, then 3 % less, 6 % less than that, and so on until it fits.
"""
import json
import time

import torch

from pytorch_gpu_step import LAYERS, LENGTH, VOCABULARY, WIDTH, Transformer, given, rotary

GIB = 2**30
# What the driver and libraries hold besides, and blocks that the allocator cannot use.
BESIDE = GIB
TRIES = 6
SMALL = {"batch": (8, 16), "length": (8192, 16384)}


class Steps:
    """Training steps of one model, compiled once for all sizes."""

    def __init__(self, mode, axis):
        self.axis = axis
        torch.manual_seed(1)
        self.model = Transformer(mode == "checkpointed").cuda()
        self.forward = torch.compile(self.model, dynamic=True) if mode == "compiled" else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.0, fused=True)

    def make(self, size):
        """Peak bytes and milliseconds of a step, or None where memory does not suffice."""
        batch, length = (size, LENGTH) if self.axis == "batch" else (1, size)
        self.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        try:
            self.model.cos, self.model.sin = (part.cuda() for part in rotary(length))
            tokens = torch.randint(VOCABULARY, (batch, length + 1), device="cuda")
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
            start = time.perf_counter()
            with torch.autocast("cuda", dtype=torch.bfloat16):
                loss = self.forward(tokens[:, :-1], tokens[:, 1:].contiguous())
            loss.backward()
            self.optimizer.step()
            torch.cuda.synchronize()
            return torch.cuda.max_memory_allocated(), 1000 * (time.perf_counter() - start)
        except torch.cuda.OutOfMemoryError:
            return None


def largest(mode, axis):
    steps = Steps(mode, axis)
    few, some = SMALL[axis]
    steps.make(few)  # the optimizer's state is there from here on
    a, b = steps.make(few)[0], steps.make(some)[0]
    steps.optimizer.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()
    room = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - BESIDE
    size = int((room - a) * (some - few) / (b - a) + few)
    unit = 1 if axis == "batch" else 1024
    refused = None
    for n in range(TRIES):
        size = size // unit * unit
        if steps.make(size) is not None:
            peak, ms = steps.make(size)
            return {"made": size, "refused": refused, "peakGiB": round(peak / GIB, 2), "stepMs": round(ms, 1)}
        refused, size = size, int(size * (1 - 0.03 * 2**n))
    return {"made": None, "refused": refused}


if __name__ == "__main__":
    for mode in given.get("modes", "compiled,checkpointed").split(","):
        for axis in given.get("axes", "batch,length").split(","):
            found = {"who": f"PyTorch {torch.__version__} {mode}", "layers": LAYERS, "width": WIDTH, "axis": axis}
            try:
                found.update(largest(mode, axis))
            except RuntimeError as error:
                found["failed"] = str(error)[:300]
            print(json.dumps(found), flush=True)
