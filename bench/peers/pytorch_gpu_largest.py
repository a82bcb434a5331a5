"""The largest batch and the longest sequence of a GPT in PyTorch that make a training step, for `run.sh largest`, with its shape:
python3 pytorch_gpu_largest.py [modes=compiled,checkpointed] [axes=batch,length] [width=768] [layers=12].

Peaks of two small steps give a line; where that meets the memory that is free is tried, then 3 % less, 6 % less than that, and so on until it fits.
"""
import json
import time

import torch

from pytorch_gpu_step import LAYERS, LENGTH, VOCABULARY, WIDTH, Transformer, given

GIB = 2**30
# What the driver and libraries hold besides, and blocks that the allocator cannot use.
BESIDE = GIB
TRIES = 6
SMALL = {"batch": (8, 16), "length": (8192, 16384)}


def step_of(mode, axis, size):
    """Peak bytes and milliseconds of a step, or None where memory does not suffice."""
    batch, length = (size, LENGTH) if axis == "batch" else (1, size)
    torch.cuda.empty_cache()
    try:
        torch.manual_seed(1)
        model = Transformer(mode == "checkpointed", length).cuda()
        forward = torch.compile(model, dynamic=True) if mode == "compiled" else model
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
        tokens = torch.randint(VOCABULARY, (batch, length + 1), device="cuda")
        # The second has the optimizer's state.
        for _ in range(2):
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
            start = time.perf_counter()
            with torch.autocast("cuda", dtype=torch.bfloat16):
                loss = forward(tokens[:, :-1], tokens[:, 1:].contiguous())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated(), 1000 * (time.perf_counter() - start)
    except torch.cuda.OutOfMemoryError:
        return None
    finally:
        model = forward = optimizer = loss = None


def largest(mode, axis):
    few, some = SMALL[axis]
    a, b = step_of(mode, axis, few)[0], step_of(mode, axis, some)[0]
    torch.cuda.empty_cache()
    room = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - BESIDE
    slope = (b - a) / (some - few)
    size = int((room - a) / slope + few)
    unit = 1 if axis == "batch" else 1024
    refused = None
    for n in range(TRIES):
        size = size // unit * unit
        made = step_of(mode, axis, size)
        if made is not None:
            return {"made": size, "refused": refused, "peakGiB": round(made[0] / GIB, 2), "stepMs": round(made[1], 1)}
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
