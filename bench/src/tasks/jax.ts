import * as jax from "@jax-js/jax";
import { operandsOf, type TaskLibrary } from "./task.ts";

/** jax-js on WebAssembly, jitted as its documentation advises. In Node it has no threads. */
export async function start(): Promise<TaskLibrary> {
  const { numpy: np, nn, jit } = jax;
  await jax.init("wasm");
  jax.defaultDevice("wasm");
  type A = jax.Array;
  return {
    version: "0.1.25",
    prepare: (task) => {
      const operands = operandsOf(task).map(({ shape, values }) => np.array(values, { shape: [...shape] }));
      const turned = (x: A, isTurned: boolean): A => (isTurned ? np.transpose(x, [0, 2, 1]) : x);
      const ops: { readonly [op: string]: (...operands: A[]) => A } = {
        add: (x, y) => x!.add(y!),
        mul: (x, y) => x!.mul(y!),
        exp: (x) => np.exp(x!),
        tanh: (x) => np.tanh(x!),
        gelu: (x) => nn.gelu(x!),
        sum: (x) => np.sum(x!),
        softmax: (x) => nn.softmax(x!),
      };
      const op =
        task.op === "matmul"
          ? (x: A, y: A) => np.matmul(turned(x, task.product.transA), turned(y, task.product.transB))
          : ops[task.op];
      if (op === undefined) return undefined;
      const one = jit(op as (...operands: A[]) => A);
      return async (times) => {
        for (let i = 0; i < times; i++) {
          const result = one(...operands.map((x) => x.ref)) as A;
          // Results are computed when they are asked for.
          await result.blockUntilReady();
          result.dispose();
        }
      };
    },
  };
}
