"""Leaves `left` GiB of a GPU's memory to a command: python3 hold_gpu_memory.py left=79.1 <command> [argument ...].

What a card with less memory would make of the command, on one with more: all else is held until it has ended. Needs PyTorch."""
import subprocess
import sys

import torch

LEAST = 1 << 20

if __name__ == "__main__":
    if len(sys.argv) < 3 or not sys.argv[1].startswith("left="):
        sys.exit(__doc__)
    left = int(float(sys.argv[1].removeprefix("left=")) * 2**30)
    torch.cuda.init()
    free, total = torch.cuda.mem_get_info()
    held, size = [], free - left
    # A block of all of it may not be had at once: halves, then.
    while size >= LEAST:
        try:
            held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
            size = torch.cuda.mem_get_info()[0] - left
        except torch.cuda.OutOfMemoryError:
            size //= 2
    print(f"{torch.cuda.mem_get_info()[0] / 2**30:.2f} of {total / 2**30:.2f} GiB are left", flush=True)
    sys.exit(subprocess.run(sys.argv[2:], check=False).returncode)
