// The layers' formulas written out in float64, from the papers: independent of the engine.
import { erf } from "@revnet-zero/testkit";

export type Vector = readonly number[];
export type Matrix = readonly Vector[];

export function rowsOf(values: ArrayLike<number>, width: number): number[][] {
  const list = Array.from(values);
  return Array.from({ length: list.length / width }, (_, i) => list.slice(i * width, (i + 1) * width));
}

export const dot = (a: Vector, b: Vector): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
export const mean = (a: Vector): number => a.reduce((sum, x) => sum + x, 0) / a.length;

export const activations = {
  none: (x: number): number => x,
  relu: (x: number): number => Math.max(x, 0),
  silu: (x: number): number => x / (1 + Math.exp(-x)),
  gelu: (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  geluExact: (x: number): number => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
};

export const linear = (x: Vector, weight: Matrix, bias?: Vector): number[] =>
  weight.map((row, o) => dot(row, x) + (bias?.[o] ?? 0));

export function layerNorm(x: Vector, weight: Vector, bias: Vector, eps: number): number[] {
  const m = mean(x);
  const sigma = Math.sqrt(mean(x.map((v) => (v - m) ** 2)) + eps);
  return x.map((v, i) => ((v - m) / sigma) * weight[i]! + bias[i]!);
}

export function rmsNorm(x: Vector, weight: Vector, eps: number): number[] {
  const rms = Math.sqrt(mean(x.map((v) => v * v)) + eps);
  return x.map((v, i) => (v / rms) * weight[i]!);
}

/** Pairs (i, i + d/2) turned by position · base^(-2i/d). */
export function rotate(x: Vector, position: number, base: number): number[] {
  const half = x.length / 2;
  const angle = (i: number): number => position * base ** (-i / half);
  return x.map((v, i) =>
    i < half
      ? v * Math.cos(angle(i)) - x[i + half]! * Math.sin(angle(i))
      : v * Math.cos(angle(i - half)) + x[i - half]! * Math.sin(angle(i - half)),
  );
}

/** One head: q, k [time, d], v [time, e]. Which keys a query sees is told by `sees`. */
export function attend(q: Matrix, k: Matrix, v: Matrix, sees: (query: number, key: number) => boolean): number[][] {
  return q.map((row, i) => {
    const scores = k.map((key, j) => (sees(i, j) ? dot(row, key) / Math.sqrt(row.length) : Number.NEGATIVE_INFINITY));
    const top = Math.max(...scores);
    const weights = scores.map((s) => Math.exp(s - top));
    const total = weights.reduce((a, b) => a + b, 0);
    return v[0]!.map((_, d) => weights.reduce((sum, w, j) => sum + (w / total) * v[j]![d]!, 0));
  });
}

export interface AttentionShape {
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly isCausal: boolean;
  readonly window: number | undefined;
  readonly rotaryBase: number | undefined;
}

/** x [time, dim] of one sequence. Query head h uses key head floor(h / (heads / key heads)). */
export function selfAttention(
  x: Matrix,
  qkv: { readonly weight: Matrix; readonly bias: Vector | undefined },
  out: { readonly weight: Matrix; readonly bias: Vector | undefined },
  { numHeads, numKeyValueHeads, headDim, isCausal, window = Number.POSITIVE_INFINITY, rotaryBase }: AttentionShape,
): number[][] {
  const projected = x.map((row) => linear(row, qkv.weight, qkv.bias));
  const head = (index: number, isRotated: boolean): number[][] =>
    projected.map((row, t) => {
      const part = row.slice(index * headDim, (index + 1) * headDim);
      return isRotated && rotaryBase !== undefined ? rotate(part, t, rotaryBase) : part;
    });
  const sees = (i: number, j: number): boolean => !isCausal || (j <= i && j > i - window);
  const heads = Array.from({ length: numHeads }, (_, h) => {
    const shared = Math.floor(h / (numHeads / numKeyValueHeads));
    const k = head(numHeads + shared, true);
    const v = head(numHeads + numKeyValueHeads + shared, false);
    return attend(head(h, true), k, v, sees);
  });
  return x.map((_, t) =>
    linear(
      heads.flatMap((h) => h[t]!),
      out.weight,
      out.bias,
    ),
  );
}
