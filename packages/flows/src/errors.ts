import { DTypeError, describe, isFloat, ShapeError, type Tensor } from "@revnet-zero/tensor";

/** Throws unless x is a batch of images whose sides divide into cells of `factor`. */
export function checkImages(op: string, x: Tensor, factor = 1): void {
  if (x.rank === 4 && x.shape[2]! % factor === 0 && x.shape[3]! % factor === 0) return;
  throw new ShapeError(
    op,
    `cannot take ${describe(x)}`,
    `give [batch, channels, height, width] with sides that divide by ${factor}; x.pad(...) adds a border`,
  );
}

/** Throws unless x has `channels` on axis 1. */
export function checkChannels(op: string, x: Tensor, channels: number): void {
  if (x.rank >= 2 && x.shape[1] === channels) return;
  throw new ShapeError(op, `cannot take ${describe(x)}`, `give [batch, ${channels}] or [batch, ${channels}, ...]`);
}

/** Throws for integers: a fixed-point stream cannot be scaled without losing bits. */
export function checkFloats(op: string, x: Tensor): void {
  if (isFloat(x.dtype)) return;
  throw new DTypeError(op, `cannot take ${describe(x)}`, "dequantise(fractionBits) the stream first");
}
