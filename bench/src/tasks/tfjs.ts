import { createRequire } from "node:module";
import { dirname } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { operandsOf, type TaskLibrary } from "./task.ts";

/** TensorFlow.js on one of its backends. In Node its WebAssembly backend has SIMD and no threads. */
export async function start(backend: "wasm" | "cpu"): Promise<TaskLibrary> {
  if (backend === "wasm") {
    const { setWasmPaths } = await import("@tensorflow/tfjs-backend-wasm");
    const entry = createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm");
    setWasmPaths(`${dirname(entry)}/`);
  }
  if (!(await tf.setBackend(backend))) throw new Error(`tfjs does not start its backend ${backend}`);
  await tf.ready();
  let operands: readonly tf.Tensor[] = [];
  return {
    version: tf.version.tfjs,
    prepare: (task) => {
      tf.dispose([...operands]);
      operands = operandsOf(task).map(({ shape, values }) => tf.tensor(values, [...shape]));
      const [x, y] = operands as [tf.Tensor, tf.Tensor];
      const ops: { readonly [op: string]: () => tf.Tensor } = {
        add: () => tf.add(x, y),
        mul: () => tf.mul(x, y),
        exp: () => tf.exp(x),
        tanh: () => tf.tanh(x),
        sum: () => tf.sum(x),
        softmax: () => tf.softmax(x),
      };
      const one = task.op === "matmul" ? () => tf.matMul(x, y, task.product.transA, task.product.transB) : ops[task.op];
      if (one === undefined) return undefined;
      return (times) => {
        for (let i = 0; i < times; i++) one().dispose();
      };
    },
  };
}
