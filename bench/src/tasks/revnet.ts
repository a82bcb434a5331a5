import { CpuBackend, PeakMeter } from "@revnet-zero/backend-cpu";
import { Engine, type Tensor, tensor } from "@revnet-zero/tensor";
import { operandsOf, type Task, type TaskLibrary } from "./task.ts";

/** This library; threads are those that REVNET_THREADS allows. */
export function start(): TaskLibrary {
  const backend = new CpuBackend();
  const engine = new Engine(backend);
  let meter: PeakMeter | undefined;
  let operands: readonly Tensor[] = [];
  return {
    version: "0.1.0",
    tier: backend.tier,
    peakFlops: () => {
      meter ??= PeakMeter.make({ tier: backend.tier, threads: backend.threads });
      return meter?.measure();
    },
    prepare: (task) => {
      for (const t of operands) t.dispose();
      operands = operandsOf(task).map(({ shape, values }) => tensor(values, { shape, engine }));
      const one = opOf(task, operands);
      return (times) => {
        for (let i = 0; i < times; i++) one().dispose();
      };
    },
  };
}

function opOf(task: Task, [x, y, z]: readonly Tensor[]): () => Tensor {
  switch (task.op) {
    case "matmul": {
      const { transA, transB } = task.product;
      const [a, b] = [transA ? x!.transpose() : x!, transB ? y!.transpose() : y!];
      return () => a.matmul(b);
    }
    case "add":
      return () => x!.add(y!);
    case "mul":
      return () => x!.mul(y!);
    case "layerNorm":
      return () => x!.layerNorm(y!, z!);
    case "cast":
      return () => x!.cast("bf16");
    default: {
      const { op } = task;
      return () => x![op]();
    }
  }
}
