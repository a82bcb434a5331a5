"""The tasks of src/tasks/task.ts in PyTorch on the CPU. One JSON request a line, one answer a line."""

import json
import sys
import time

import torch
import torch.nn.functional as F


def operands_and_op(task):
    op = task["op"]
    if op == "matmul":
        s = task["product"]

        def operand(rows, columns, is_transposed):
            if not is_transposed:
                return torch.rand(s["batch"], rows, columns)
            return torch.rand(s["batch"], columns, rows).transpose(1, 2)

        a, b = operand(s["m"], s["k"], s["transA"]), operand(s["k"], s["n"], s["transB"])
        return lambda: a @ b
    x, y = torch.rand(task["shape"]) * 2 - 1, torch.rand(task["shape"]) * 2 - 1
    w, b = torch.rand(task["shape"][-1]), torch.rand(task["shape"][-1])
    return {
        "add": lambda: x + y,
        "mul": lambda: x * y,
        "exp": lambda: torch.exp(x),
        "tanh": lambda: torch.tanh(x),
        "gelu": lambda: F.gelu(x, approximate="tanh"),
        "sum": lambda: x.sum(),
        "softmax": lambda: F.softmax(x, -1),
        "layerNorm": lambda: F.layer_norm(x, w.shape, w, b),
        "cast": lambda: x.to(torch.bfloat16),
    }[op]


run = None
for line in sys.stdin:
    request = json.loads(line)
    if "start" in request:
        torch.set_num_threads(request["threads"])
        print(json.dumps({"version": torch.__version__}), flush=True)
    elif "prepare" in request:
        run = operands_and_op(request["prepare"])
        print(json.dumps({"isAble": True}), flush=True)
    else:
        with torch.inference_mode():
            start = time.perf_counter()
            for _ in range(request["run"]):
                run()
            print(json.dumps({"timeMs": 1000 * (time.perf_counter() - start) / request["run"]}), flush=True)
