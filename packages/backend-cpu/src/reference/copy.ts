import { fillRandomBits, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { caster, dense, encoder, store } from "../buffer.ts";

type Kernels = Pick<PrimitiveKernels<TypedArray>, "fill" | "copy" | "cast" | "assign" | "randomBits">;

export const copyKernels: Kernels = {
  fill: {
    run: (_, [y], { value }) => {
      y!.data.fill(
        caster(y!.dtype)(value),
        0,
        y!.shape.reduce((a, b) => a * b, 1),
      );
    },
  },
  copy: { run: ([x], [y]) => store(y!, dense(x!)) },
  cast: {
    run: ([x], [y]) => store(y!, dense(x!), x!.dtype === "bool" ? encoder(y!.dtype) : caster(y!.dtype)),
  },
  assign: { run: ([, value], [y]) => store(y!, dense(value!)) },
  randomBits: {
    run: (_, [y], { key }) =>
      fillRandomBits(
        (y!.data as Int32Array).subarray(
          0,
          y!.shape.reduce((a, b) => a * b, 1),
        ),
        key,
      ),
  },
};
