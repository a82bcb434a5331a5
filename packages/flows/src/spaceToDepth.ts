import { describe, ShapeError, type Tensor, ValueError } from "@revnet-zero/tensor";
import { checkImages } from "./errors.ts";

export interface CellOptions {
  /** Side of a cell in pixels. Default 2. */
  readonly factor?: number;
}

/**
 * Cells of factor x factor pixels as channels: `[batch, c, h, w]` -> `[batch, c·factor², h/factor, w/factor]`, channel
 * `(c·factor + row)·factor + column`. Any dtype; nothing is computed, so fixed-point streams pass bit for bit.
 * Throws ShapeError where the sides do not divide.
 * Source: Dinh et al. 2016 (arXiv:1605.08803), section 3.6 ("squeezing").
 *
 * ```ts
 * import { arange, depthToSpace, spaceToDepth } from "revnet-zero";
 *
 * const image = arange(8).reshape([1, 1, 2, 4]);
 * const cells = spaceToDepth(image);
 * cells.shape; // => [ 1, 4, 1, 2 ]
 * cells.dataSync(); // => Int32Array(8) [ 0, 2, 1, 3, 4, 6, 5, 7 ]
 * depthToSpace(cells).dataSync(); // => Int32Array(8) [ 0, 1, 2, 3, 4, 5, 6, 7 ]
 * ```
 */
export function spaceToDepth(x: Tensor, { factor = 2 }: CellOptions = {}): Tensor {
  checkFactor("spaceToDepth", factor);
  checkImages("spaceToDepth", x, factor);
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const [h, w] = [height / factor, width / factor];
  return x.engine.scope(() =>
    x
      .reshape([batch, channels, h, factor, w, factor])
      .permute([0, 1, 3, 5, 2, 4])
      .reshape([batch, channels * factor * factor, h, w]),
  );
}

/** The inverse of `spaceToDepth`: `[batch, c·factor², h, w]` -> `[batch, c, h·factor, w·factor]`. */
export function depthToSpace(x: Tensor, { factor = 2 }: CellOptions = {}): Tensor {
  checkFactor("depthToSpace", factor);
  checkImages("depthToSpace", x);
  const [batch, depth, height, width] = x.shape as [number, number, number, number];
  const channels = depth / (factor * factor);
  if (!Number.isInteger(channels)) {
    throw new ShapeError(
      "depthToSpace",
      `the channels of ${describe(x)} do not divide into cells of ${factor} x ${factor}`,
      `give a number of channels that divides by ${factor * factor}`,
    );
  }
  return x.engine.scope(() =>
    x
      .reshape([batch, channels, factor, factor, height, width])
      .permute([0, 1, 4, 2, 5, 3])
      .reshape([batch, channels, height * factor, width * factor]),
  );
}

function checkFactor(op: string, factor: number): void {
  if (Number.isInteger(factor) && factor > 0) return;
  throw new ValueError(op, `the factor is ${factor}`, "use a positive integer");
}
