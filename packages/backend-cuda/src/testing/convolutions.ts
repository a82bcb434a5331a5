import {
  type DType,
  type Engine,
  numel,
  ops,
  randomKey,
  randomNormal,
  type Shape,
  type Tensor,
} from "@revnet-zero/tensor";
import type { ConvolutionAttrs, Pair } from "../kernels/conv/operands.ts";

export interface ConvolutionCase {
  readonly images: number;
  readonly channels: number;
  readonly out: number;
  readonly size: Pair;
  readonly kernel: Pair;
  readonly stride?: Pair;
  readonly padding?: Pair;
  readonly dilation?: Pair;
  readonly groups?: number;
}

/**
 * Ends within tiles of every side, several tiles of each, images that share a block, pixels that strides leave out, groups, one row,
 * more channels than are read at once, and runs that are added up.
 */
export const convolutionCases: readonly ConvolutionCase[] = [
  { images: 1, channels: 8, out: 70, size: [9, 14], kernel: [3, 3], padding: [1, 1] },
  { images: 1, channels: 12, out: 10, size: [11, 13], kernel: [3, 3], stride: [2, 1], dilation: [1, 2], groups: 2 },
  { images: 2, channels: 40, out: 24, size: [7, 7], kernel: [1, 1], stride: [2, 2] },
  { images: 3, channels: 20, out: 12, size: [5, 6], kernel: [1, 1] },
  { images: 3, channels: 6, out: 9, size: [1, 50], kernel: [1, 5], stride: [1, 3], padding: [0, 2] },
  { images: 2, channels: 80, out: 72, size: [5, 9], kernel: [3, 2], padding: [2, 1], dilation: [2, 1], groups: 2 },
  { images: 2, channels: 4, out: 9, size: [24, 25], kernel: [3, 3], padding: [2, 1] },
];

/** The same, larger: for a device. */
export const longConvolutionCases: readonly ConvolutionCase[] = [
  { images: 3, channels: 64, out: 64, size: [16, 24], kernel: [3, 3], padding: [1, 1] },
  { images: 2, channels: 96, out: 160, size: [17, 19], kernel: [3, 3], stride: [2, 2], padding: [1, 1] },
  { images: 1, channels: 512, out: 12, size: [8, 8], kernel: [3, 3], padding: [1, 1] },
  { images: 8, channels: 256, out: 256, size: [8, 8], kernel: [1, 1], groups: 4 },
];

const one: Pair = [1, 1];

type ShortFloat = "f32" | "bf16" | "f16";
/** Half a unit of what is stored in 16 bits, of a largest value of 1. */
const halfUnit: Readonly<Record<ShortFloat, number>> = { f32: 0, bf16: 2 ** -8, f16: 2 ** -11 };

/**
 * How far results may be off: what adding up so many terms in float32 loses, whose partial sums grow with the root of their number, and
 * what storing in 16 bits does.
 */
export function convolutionBound(its: ConvolutionCase, dtype: ShortFloat): number {
  const { images, channels, out, size, kernel, groups = 1 } = its;
  const terms = Math.max((Math.max(channels, out) / groups) * numel(kernel), images * numel(size));
  return 2 ** -23 * Math.sqrt(terms) + halfUnit[dtype];
}

/** A convolution, and its gradients by the input and by the weight where `gradientOf` gives the output's. */
export function convolveBothWays(
  x: Tensor,
  w: Tensor,
  attrs: ConvolutionAttrs,
  gradientOf: (y: Tensor) => Tensor = (y) => y,
): [y: Tensor, dx: Tensor, dw: Tensor] {
  const y = x.apply(ops.conv2d, [x, w], attrs);
  const g = gradientOf(y);
  const dx = x.apply(ops.conv2dInputGradient, [g, w], { ...attrs, shape: x.shape });
  return [y, dx, x.apply(ops.conv2dWeightGradient, [g, x], { ...attrs, shape: w.shape })];
}

/**
 * The largest difference of a convolution and its two gradients from the oracle's in float64, relative to each one's largest value. Both
 * start from the same short numbers. Not a number where a second run has other bits.
 */
export function convolutionApart(engine: Engine, oracle: Engine, its: ConvolutionCase, dtype: DType): number[] {
  const { images, channels, out, size, kernel, stride = one, padding = [0, 0], dilation = one, groups = 1 } = its;
  const attrs = { stride, padding, dilation, groups };
  const run = (on: Engine, computed: DType): Float64Array[] =>
    on.scope(() => {
      const draw = (shape: Shape, seed: number): Tensor =>
        randomNormal(shape, { key: randomKey(seed), engine: on })
          .cast(dtype)
          .cast(computed);
      const [x, w] = [draw([images, channels, ...size], 1), draw([out, channels / groups, ...kernel], 2)];
      const all = convolveBothWays(x, w, attrs, (y) => draw(y.shape, 3));
      return all.map((v) => Float64Array.from(v.cast("f64").dataSync()));
    });
  const [found, again] = [run(engine, dtype), run(engine, dtype)];
  return run(oracle, "f64").map((expected, i) => {
    if (found[i]!.some((v, j) => !Object.is(v, again[i]![j]))) return Number.NaN;
    const largest = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    return expected.reduce((m, v, j) => Math.max(m, Math.abs(v - found[i]![j]!)), 0) / largest;
  });
}
