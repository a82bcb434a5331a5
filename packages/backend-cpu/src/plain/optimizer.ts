import type { FusedKernels, TypedArray } from "@revnet-zero/tensor";
import { floatsIn } from "./floats.ts";

export const optimizerKernels: Pick<FusedKernels<TypedArray>, "adamw" | "globalNorm" | "lion"> = {
  globalNorm: {
    run: (inputs, [y]) => {
      let total = 0;
      for (const x of inputs) for (const v of floatsIn(x)) total += v * v;
      y!.data[0] = Math.sqrt(total);
    },
  },
  adamw: {
    dtypes: ["f32"],
    run: (inputs, outputs, { beta1, beta2, eps, weightDecay }) => {
      const factor = floatsIn(inputs[0]!)[0]!;
      if (!Number.isFinite(factor)) return;
      const [learningRate, correction1, correction2] = floatsIn(inputs[1]!) as unknown as [number, number, number];
      for (let i = 2, o = 0; i < inputs.length; i += 4, o += 3) {
        const g = floatsIn(inputs[i + 1]!);
        const [p, m, v] = outputs.slice(o, o + 3).map((t) => t.data) as [Float32Array, Float32Array, Float32Array];
        for (let e = 0; e < g.length; e++) {
          const gradient = g[e]! * factor;
          const m1 = beta1 * m[e]! + (1 - beta1) * gradient;
          const v1 = beta2 * v[e]! + (1 - beta2) * gradient * gradient;
          m[e] = m1;
          v[e] = v1;
          const update = m1 / correction1 / (Math.sqrt(v1 / correction2) + eps) + weightDecay * p[e]!;
          p[e]! -= learningRate * update;
        }
      }
    },
  },
  lion: {
    dtypes: ["f32"],
    run: (inputs, outputs, { beta1, beta2, weightDecay }) => {
      const factor = floatsIn(inputs[0]!)[0]!;
      if (!Number.isFinite(factor)) return;
      const rate = floatsIn(inputs[1]!)[0]!;
      for (let i = 2, o = 0; i < inputs.length; i += 3, o += 2) {
        const g = floatsIn(inputs[i + 1]!);
        const [p, m] = outputs.slice(o, o + 2).map((t) => t.data) as [Float32Array, Float32Array];
        for (let e = 0; e < g.length; e++) {
          const gradient = g[e]! * factor;
          const direction = Math.sign(beta1 * m[e]! + (1 - beta1) * gradient);
          p[e]! -= rate * (direction + weightDecay * p[e]!);
          m[e] = beta2 * m[e]! + (1 - beta2) * gradient;
        }
      }
    },
  },
};
