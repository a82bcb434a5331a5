import { type FusedKernels, numel, type TypedArray } from "@revnet-zero/tensor";
import { floatsIn, floatsOut, indicesIn } from "./floats.ts";

export const ropeKernel: Required<Pick<FusedKernels<TypedArray>, "rope">> = {
  rope: {
    inputs: "contiguous",
    run: ([x, positions], [y], { base, direction }) => {
      const [time, dim] = x!.shape.slice(-2) as [number, number];
      const half = dim / 2;
      const places = indicesIn(positions!);
      const cosine = new Float64Array(time * half);
      const sine = new Float64Array(time * half);
      for (let t = 0; t < time; t++) {
        for (let i = 0; i < half; i++) {
          const angle = places[t]! * base ** (-i / half);
          cosine[t * half + i] = Math.cos(angle);
          sine[t * half + i] = Math.sin(angle) * direction;
        }
      }
      const values = floatsIn(x!);
      floatsOut(y!, (out) => {
        for (let row = 0; row < numel(x!.shape) / dim; row++) {
          const table = (row % time) * half;
          for (let i = 0; i < half; i++) {
            const [a, b] = [values[row * dim + i]!, values[row * dim + half + i]!];
            const [c, s] = [cosine[table + i]!, sine[table + i]!];
            out[row * dim + i] = a * c - b * s;
            out[row * dim + half + i] = b * c + a * s;
          }
        }
      });
    },
  },
};
