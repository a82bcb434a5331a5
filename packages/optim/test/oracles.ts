// The algorithms written out in float64, one number at a time, from the papers: independent of the engine.
import type { AdafactorOptions, AdamWOptions, LionOptions, SGDOptions } from "../src/index.ts";

/** One parameter's update: changes `p` in place. `t` is 1 for the first. */
export type Oracle = (p: Float64Array, g: Float64Array, t: number, learningRate: number) => void;

export function sgd({ momentum, nesterov, weightDecay }: SGDOptions, size: number): Oracle {
  const v = new Float64Array(size);
  return (p, g, _, rate) => {
    for (let i = 0; i < size; i++) {
      const gradient = g[i]! + weightDecay * p[i]!;
      v[i] = momentum * v[i]! + gradient;
      p[i]! -= rate * (nesterov && momentum > 0 ? gradient + momentum * v[i]! : v[i]!);
    }
  };
}

/** Algorithm 2 of Loshchilov & Hutter, line by line. */
export function adamw({ beta1, beta2, eps, weightDecay }: AdamWOptions, size: number): Oracle {
  const m = new Float64Array(size);
  const v = new Float64Array(size);
  return (p, g, t, rate) => {
    for (let i = 0; i < size; i++) {
      m[i] = beta1 * m[i]! + (1 - beta1) * g[i]!;
      v[i] = beta2 * v[i]! + (1 - beta2) * g[i]! ** 2;
      const mHat = m[i]! / (1 - beta1 ** t);
      const vHat = v[i]! / (1 - beta2 ** t);
      p[i]! -= rate * (mHat / (Math.sqrt(vHat) + eps) + weightDecay * p[i]!);
    }
  };
}

export function lion({ beta1, beta2, weightDecay }: LionOptions, size: number): Oracle {
  const m = new Float64Array(size);
  return (p, g, _, rate) => {
    for (let i = 0; i < size; i++) {
      const c = beta1 * m[i]! + (1 - beta1) * g[i]!;
      p[i]! -= rate * (Math.sign(c) + weightDecay * p[i]!);
      m[i] = beta2 * m[i]! + (1 - beta2) * g[i]!;
    }
  };
}

const rms = (x: Float64Array): number => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length);

/** Algorithms 4 and 5. A tensor of more than two axes is a stack of matrices with one update clipping. */
export function adafactor(options: AdafactorOptions, size: number, shape: readonly number[]): Oracle {
  const { eps1, eps2, clipThreshold, weightDecay, relativeStep, decayPower } = options;
  const isFactored = shape.length >= 2;
  const columns = shape[shape.length - 1] ?? 1;
  const rows = shape[shape.length - 2] ?? 1;
  const full = new Float64Array(size);
  const r = new Float64Array(size / columns);
  const c = new Float64Array(size / rows);
  return (p, g, t, rate) => {
    const decay = 1 - t ** -decayPower;
    const square = (i: number): number => g[i]! ** 2 + eps1;
    const update = new Float64Array(size);
    if (isFactored) {
      for (let matrix = 0; matrix < size / (rows * columns); matrix++) {
        const at = (i: number, j: number): number => (matrix * rows + i) * columns + j;
        for (let i = 0; i < rows; i++) {
          let sum = 0;
          for (let j = 0; j < columns; j++) sum += square(at(i, j));
          r[matrix * rows + i] = decay * r[matrix * rows + i]! + (1 - decay) * sum;
        }
        for (let j = 0; j < columns; j++) {
          let sum = 0;
          for (let i = 0; i < rows; i++) sum += square(at(i, j));
          c[matrix * columns + j] = decay * c[matrix * columns + j]! + (1 - decay) * sum;
        }
        const total = r.subarray(matrix * rows, (matrix + 1) * rows).reduce((a, b) => a + b, 0);
        for (let i = 0; i < rows; i++) {
          for (let j = 0; j < columns; j++) {
            const second = (r[matrix * rows + i]! * c[matrix * columns + j]!) / total;
            update[at(i, j)] = g[at(i, j)]! / Math.sqrt(second);
          }
        }
      }
    } else {
      for (let i = 0; i < size; i++) {
        full[i] = decay * full[i]! + (1 - decay) * square(i);
        update[i] = g[i]! / Math.sqrt(full[i]!);
      }
    }
    const clip = Math.max(1, rms(update) / clipThreshold);
    const scale = relativeStep ? Math.max(eps2, rms(p)) * rate : rate;
    for (let i = 0; i < size; i++) p[i]! -= scale * (update[i]! / clip + weightDecay * p[i]!);
  };
}
