"""The products of the suite `matmul` in PyTorch on the CPU. One JSON request a line, one answer a line."""

import json
import sys
import time

import torch

operands = None
for line in sys.stdin:
    request = json.loads(line)
    if "threads" in request:
        torch.set_num_threads(request["threads"])
        print(json.dumps({"torch": torch.__version__}), flush=True)
    elif "prepare" in request:
        s = request["prepare"]

        def operand(rows, columns, is_transposed):
            if not is_transposed:
                return torch.randn(s["batch"], rows, columns)
            return torch.randn(s["batch"], columns, rows).transpose(1, 2)

        operands = operand(s["m"], s["k"], s["transA"]), operand(s["k"], s["n"], s["transB"])
        print("{}", flush=True)
    else:
        a, b = operands
        with torch.inference_mode():
            start = time.perf_counter()
            for _ in range(request["run"]):
                a @ b
            print(json.dumps({"timeMs": 1000 * (time.perf_counter() - start) / request["run"]}), flush=True)
