import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import { onnxModel } from "./onnx.ts";
import { operandsOf, type TaskLibrary } from "./task.ts";

const nodes: { readonly [op: string]: { readonly op: string; readonly attributes?: Record<string, string> } } = {
  add: { op: "Add" },
  mul: { op: "Mul" },
  exp: { op: "Exp" },
  tanh: { op: "Tanh" },
  gelu: { op: "Gelu", attributes: { approximate: "tanh" } },
  softmax: { op: "Softmax" },
};

/** onnxruntime-web on WebAssembly, a session for each task. Its product takes no transposed operand. */
export function start(threads: number): TaskLibrary {
  env.wasm.numThreads = threads;
  return {
    version: "1.30.0",
    prepare: async (task) => {
      if (task.op === "matmul" && (task.product.transA || task.product.transB)) return undefined;
      const node = task.op === "matmul" ? { op: "MatMul" } : nodes[task.op];
      if (node === undefined) return undefined;
      const operands = operandsOf(task);
      const output = task.op === "matmul" ? [task.product.batch, task.product.m, task.product.n] : task.shape;
      const model = onnxModel({ ...node, inputs: operands.map(({ shape }) => shape), output });
      const session = await InferenceSession.create(model, { intraOpNumThreads: threads });
      const feeds = Object.fromEntries(
        operands.map(({ shape, values }, i) => [`x${i}`, new Tensor("float32", values, shape)]),
      );
      return async (times) => {
        for (let i = 0; i < times; i++) await session.run(feeds);
      };
    },
  };
}
