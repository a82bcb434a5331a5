import { numel, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { type CpuView, dense, store } from "../buffer.ts";

/** Dense values of an operand with its batch axes broadcast to `batch`. */
function batched(x: CpuView, batch: readonly number[]): Float64Array {
  const lead = batch.length - (x.shape.length - 2);
  const strides = batch.map((_, d) => (d < lead || x.shape[d - lead] === 1 ? 0 : x.strides[d - lead]!));
  return dense({ ...x, shape: [...batch, ...x.shape.slice(-2)], strides: [...strides, ...x.strides.slice(-2)] });
}

export const matmulKernels: Pick<PrimitiveKernels<TypedArray>, "matmul"> = {
  matmul: {
    run: ([a, b], [y]) => {
      const batch = y!.shape.slice(0, -2);
      const [m, n] = y!.shape.slice(-2) as [number, number];
      const k = a!.shape[a!.shape.length - 1]!;
      const [A, B] = [batched(a!, batch), batched(b!, batch)];
      const out = new Float64Array(numel(y!.shape));
      for (let s = 0; s < numel(batch); s++) {
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < n; j++) {
            let sum = 0;
            for (let p = 0; p < k; p++) sum += A[(s * m + i) * k + p]! * B[(s * k + p) * n + j]!;
            out[(s * m + i) * n + j] = sum;
          }
        }
      }
      store(y!, out);
    },
  },
};
