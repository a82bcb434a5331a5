import { type Key, numel, randomUniform, type Shape, type Tensor, ValueError } from "@revnet-zero/tensor";

export interface DequantisationOptions {
  readonly key: Key;
  /** Number of values an element can have. Default 256. */
  readonly levels?: number;
}

/**
 * Whole numbers 0 ... levels - 1 as floats in (0, 1): (x + u) / levels with u uniform in (0, 1), on a grid so coarse that float32 holds
 * every sum: `quantisePixels` gives the pixels back. The density of a continuous model of these bounds the probability of the whole
 * numbers from below. Throws ValueError for levels beyond 2^16.
 * Source: Theis, van den Oord & Bethge 2016 (arXiv:1511.01844), section 3.1.
 */
export function dequantisePixels(pixels: Tensor, { key, levels = 256 }: DequantisationOptions): Tensor {
  checkLevels("dequantisePixels", levels);
  const grid = 2 ** (20 - Math.ceil(Math.log2(levels)));
  return pixels.engine.scope(() => {
    const uniform = randomUniform(pixels.shape, { key, engine: pixels.engine });
    const noise = uniform
      .mul(grid)
      .floor()
      .add(0.5)
      .mul(1 / grid);
    return pixels
      .cast("f32")
      .add(noise)
      .mul(1 / levels);
  });
}

/** The whole numbers i32 that floats in [0, 1) stand for; what lies outside goes to the first and the last. */
export function quantisePixels(x: Tensor, { levels = 256 }: Pick<DequantisationOptions, "levels"> = {}): Tensor {
  checkLevels("quantisePixels", levels);
  return x.engine.scope(() =>
    x
      .mul(levels)
      .floor()
      .maximum(0)
      .minimum(levels - 1)
      .cast("i32"),
  );
}

function checkLevels(op: string, levels: number): void {
  if (Number.isInteger(levels) && levels >= 2 && levels <= 2 ** 16) return;
  throw new ValueError(op, `levels is ${levels}`, "use an integer from 2 to 65536");
}

/** Bits per dimension of data of which log p in nats is known, as `levels` values per element of [0, 1): `[batch]`. */
export function bitsPerDimension(
  logProbability: Tensor,
  { shape, levels = 256 }: { readonly shape: Shape; readonly levels?: number },
): Tensor {
  return logProbability.engine.scope(() => logProbability.mul(-1 / (numel(shape) * Math.LN2)).add(Math.log2(levels)));
}
