import * as np from "numpy-ts";
import { operandsOf, type TaskLibrary } from "./task.ts";

/** numpy-ts, whose larger ops run in WebAssembly on one thread. */
export function start(): TaskLibrary {
  // Results live until the garbage collector runs: enough that large ones do not fall out of its heap.
  np.configureWasm({ maxMemory: 2 ** 31 });
  return {
    version: "1.7.0",
    prepare: (task) => {
      const [x, y] = operandsOf(task).map(({ shape, values }) => np.array(values).reshape(...shape)) as [
        np.NDArray,
        np.NDArray,
      ];
      const turned = (a: np.NDArray, isTurned: boolean): np.NDArray => (isTurned ? np.swapaxes(a, 1, 2) : a);
      const ops: { readonly [op: string]: () => unknown } = {
        add: () => np.add(x, y),
        mul: () => np.multiply(x, y),
        exp: () => np.exp(x),
        tanh: () => np.tanh(x),
        sum: () => np.sum(x),
      };
      let one = ops[task.op];
      if (task.op === "matmul") {
        const [a, b] = [turned(x, task.product.transA), turned(y, task.product.transB)];
        one = () => np.matmul(a, b);
      }
      if (one === undefined) return undefined;
      return (times) => {
        for (let i = 0; i < times; i++) one();
      };
    },
  };
}
