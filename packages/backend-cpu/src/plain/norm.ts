import type { FusedKernels, TypedArray } from "@revnet-zero/tensor";
import { floatsIn, floatsOut } from "./floats.ts";
import { eachRow } from "./softmax.ts";

type Kernels = Pick<FusedKernels<TypedArray>, "layerNorm" | "layerNormBackward" | "rmsNorm" | "rmsNormBackward">;

/** Two passes over each row (mean, then variance), float64 inside. Parameter gradients sum over rows in row order. */
export const normKernels: Kernels = {
  layerNorm: {
    inputs: "contiguous",
    run: ([x, w, b], [y, mean, inverse], { eps }) => {
      const [values, weight, bias] = [floatsIn(x!), floatsIn(w!), floatsIn(b!)];
      floatsOut(y!, (out) =>
        floatsOut(mean!, (means) =>
          floatsOut(inverse!, (inverses) =>
            eachRow(x!.shape, (start, size, row) => {
              let sum = 0;
              for (let i = 0; i < size; i++) sum += values[start + i]!;
              const m = sum / size;
              let squares = 0;
              for (let i = 0; i < size; i++) squares += (values[start + i]! - m) ** 2;
              const r = 1 / Math.sqrt(squares / size + eps);
              means[row] = m;
              inverses[row] = r;
              for (let i = 0; i < size; i++) out[start + i] = (values[start + i]! - m) * r * weight[i]! + bias[i]!;
            }),
          ),
        ),
      );
    },
  },
  layerNormBackward: {
    inputs: "contiguous",
    run: ([x, w, mean, inverse, g], [dx, dw, db]) => {
      const [values, weight, means, inverses, grad] = [
        floatsIn(x!),
        floatsIn(w!),
        floatsIn(mean!),
        floatsIn(inverse!),
        floatsIn(g!),
      ];
      const weightSums = new Float64Array(weight.length);
      const biasSums = new Float64Array(weight.length);
      floatsOut(dx!, (out) =>
        eachRow(x!.shape, (start, size, row) => {
          const [m, r] = [means[row]!, inverses[row]!];
          let sum = 0;
          let dot = 0;
          for (let i = 0; i < size; i++) {
            const normalised = (values[start + i]! - m) * r;
            const gi = grad[start + i]!;
            sum += gi * weight[i]!;
            dot += gi * weight[i]! * normalised;
            weightSums[i]! += gi * normalised;
            biasSums[i]! += gi;
          }
          sum /= size;
          dot /= size;
          for (let i = 0; i < size; i++) {
            const normalised = (values[start + i]! - m) * r;
            out[start + i] = (grad[start + i]! * weight[i]! - sum - normalised * dot) * r;
          }
        }),
      );
      floatsOut(dw!, (out) => out.set(weightSums));
      floatsOut(db!, (out) => out.set(biasSums));
    },
  },
  rmsNorm: {
    inputs: "contiguous",
    run: ([x, w], [y, inverse], { eps }) => {
      const [values, weight] = [floatsIn(x!), floatsIn(w!)];
      floatsOut(y!, (out) =>
        floatsOut(inverse!, (inverses) =>
          eachRow(x!.shape, (start, size, row) => {
            let squares = 0;
            for (let i = 0; i < size; i++) squares += values[start + i]! ** 2;
            const r = 1 / Math.sqrt(squares / size + eps);
            inverses[row] = r;
            for (let i = 0; i < size; i++) out[start + i] = values[start + i]! * r * weight[i]!;
          }),
        ),
      );
    },
  },
  rmsNormBackward: {
    inputs: "contiguous",
    run: ([x, w, inverse, g], [dx, dw]) => {
      const [values, weight, inverses, grad] = [floatsIn(x!), floatsIn(w!), floatsIn(inverse!), floatsIn(g!)];
      const sums = new Float64Array(weight.length);
      floatsOut(dx!, (out) =>
        eachRow(x!.shape, (start, size, row) => {
          const r = inverses[row]!;
          let dot = 0;
          for (let i = 0; i < size; i++) {
            const normalised = values[start + i]! * r;
            dot += grad[start + i]! * weight[i]! * normalised;
            sums[i]! += grad[start + i]! * normalised;
          }
          dot /= size;
          for (let i = 0; i < size; i++)
            out[start + i] = (grad[start + i]! * weight[i]! - values[start + i]! * r * dot) * r;
        }),
      );
      floatsOut(dw!, (out) => out.set(sums));
    },
  },
};
