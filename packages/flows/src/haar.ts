import {
  DTypeError,
  describe,
  type ElementwiseOp,
  elementwise,
  expr,
  isFloat,
  ShapeError,
  type Tensor,
} from "@revnet-zero/tensor";
import { checkImages } from "./errors.ts";
import { depthToSpace, spaceToDepth } from "./spaceToDepth.ts";

/** One level of a two-channel filter bank on pairs of neighbours, and its inverse. */
interface PairTransform {
  /** (first, second) -> (low, high) */
  split(first: Tensor, second: Tensor): readonly [Tensor, Tensor];
  merge(low: Tensor, high: Tensor): readonly [Tensor, Tensor];
}

/**
 * x ± (d >> 1) modulo 2^32. In units of the value the gradient is that of x ± d/2: the rounding is passed straight
 * through, as that of the streams is.
 */
const halfStep = (name: string, sign: 1 | -1): ElementwiseOp =>
  elementwise({
    name,
    arity: 2,
    doc: `x ${sign === 1 ? "+" : "-"} (d >> 1), integers that wrap; straight-through gradient`,
    meta: (inputs) => [inputs[0]!],
    body: ([x, d]) => (sign === 1 ? expr.add : expr.sub)(x!, expr.shiftRight(d!, 1)),
    gradient: {
      saves: () => ({}),
      vjp: ({ gradient, needs }) => [gradient, needs[1] ? gradient.mul(sign / 2) : undefined],
    },
  });
const addHalf = halfStep("addHalf", 1);
const subtractHalf = halfStep("subtractHalf", -1);

/**
 * d = x1 - x0, s = x0 + (d >> 1) = floor((x0 + x1) / 2): two lifting steps, each a bijection of the 32-bit words, so the
 * inverse is exact whatever the values, wrap-around included.
 */
const lifting: PairTransform = {
  split: (first, second) => {
    const high = second.sub(first);
    return [first.apply(addHalf, [first, high], undefined), high];
  },
  merge: (low, high) => {
    const first = low.apply(subtractHalf, [low, high], undefined);
    return [first, high.add(first)];
  },
};

/** s = (x0 + x1) / √2, d = (x1 - x0) / √2: a rotation, which is its own transpose's inverse. */
const orthonormal: PairTransform = {
  split: (first, second) => [first.add(second).mul(Math.SQRT1_2), second.sub(first).mul(Math.SQRT1_2)],
  merge: (low, high) => [low.sub(high).mul(Math.SQRT1_2), low.add(high).mul(Math.SQRT1_2)],
};

/**
 * One level of the 2-D Haar wavelet: `[batch, c, h, w]` -> `[batch, 4·c, h/2, w/2]`, channels in four groups of c: the
 * means, then details between columns, between rows, and of both.
 *
 * Fixed-point streams (i32) are lifted in integers, d = x1 - x0 and s = x0 + (d >> 1) along rows, then along columns:
 * `haarUpsample` gives back every bit, overflow included; gradients pass the rounding straight through. Float tensors get the
 * orthonormal transform (means times 2). Both have |determinant| 1, and save nothing for backward.
 * Throws ShapeError where a side is odd, DTypeError for other integers.
 *
 * Source: Haar 1910; as integer lifting, Calderbank, Daubechies, Sweldens & Yeo 1998, "Wavelet transforms that map integers to
 * integers" (the S transform); integer bijections in flows, Hoogeboom et al. 2019 (arXiv:1905.07376).
 *
 * ```ts
 * import { haarDownsample, haarUpsample, tensor } from "revnet-zero";
 *
 * const stream = tensor([[[[7, 10], [-3, 2147483647]]]], { dtype: "i32" });
 * const bands = haarDownsample(stream);
 * bands.shape; // => [ 1, 4, 1, 1 ]
 * haarUpsample(bands).dataSync(); // => Int32Array(4) [ 7, 10, -3, 2147483647 ]
 * ```
 */
export function haarDownsample(x: Tensor): Tensor {
  checkImages("haarDownsample", x, 2);
  const { split } = transformOf("haarDownsample", x);
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const [h, w] = [height / 2, width / 2];
  return x.engine.scope(() => {
    // The four pixels of each cell, in parts that lie row by row: pairs of strided columns would be slow to join again.
    const cells = spaceToDepth(x).reshape([batch, channels, 4, h, w]).split(4, 2);
    const [topLeft, topRight, bottomLeft, bottomRight] = cells as Quarters;
    const [[top, topDetail], [bottom, bottomDetail]] = [split(topLeft, topRight), split(bottomLeft, bottomRight)];
    const [[mean, rows], [columns, both]] = [split(top, bottom), split(topDetail, bottomDetail)];
    const [first, ...rest] = [mean, columns, rows, both].map((t) => t.reshape([batch, channels, h, w]));
    return first!.concat(rest, 1);
  });
}

/** The inverse of `haarDownsample`: `[batch, 4·c, h, w]` -> `[batch, c, 2·h, 2·w]`. */
export function haarUpsample(y: Tensor): Tensor {
  checkImages("haarUpsample", y);
  const { merge } = transformOf("haarUpsample", y);
  const [batch, depth, h, w] = y.shape as [number, number, number, number];
  if (depth % 4 !== 0)
    throw new ShapeError(
      "haarUpsample",
      `cannot take ${describe(y)}`,
      "give four groups of channels, as haarDownsample does",
    );
  const channels = depth / 4;
  return y.engine.scope(() => {
    const bands = y.split(4, 1).map((t): Tensor => t.reshape([batch, channels, 1, h, w]));
    const [mean, columns, rows, both] = bands as Quarters;
    const [[top, bottom], [topDetail, bottomDetail]] = [merge(mean, rows), merge(columns, both)];
    const [topLeft, ...others] = [...merge(top, topDetail), ...merge(bottom, bottomDetail)];
    return depthToSpace(topLeft!.concat(others, 2).reshape([batch, depth, h, w]));
  });
}

type Quarters = [Tensor, Tensor, Tensor, Tensor];

function transformOf(op: string, x: Tensor): PairTransform {
  if (isFloat(x.dtype)) return orthonormal;
  if (x.dtype === "i32") return lifting;
  throw new DTypeError(op, `cannot take ${describe(x)}`, 'cast it first: x.cast("i32"), or to a float');
}
