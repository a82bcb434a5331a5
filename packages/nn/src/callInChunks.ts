import { checkpoint, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { Module } from "./module.ts";

export interface ChunkOptions {
  /** Default 1: the time of `[batch, time, dim]`. */
  readonly axis?: number;
  /** Rows that pass through the module at a time. */
  readonly size: number;
}

/**
 * `module.call(x)` for a module that maps every row by itself (an MLP), some rows at a time, and again in backward, which keeps only x: what is
 * inside of it exists for one chunk. Chunks follow from the shape alone: same bits every time, but not those of the whole, since gradients of
 * parameters are summed chunk by chunk.
 */
export function callInChunks(
  module: Module & { forward(x: Tensor): Tensor },
  x: Tensor,
  { axis = 1, size }: ChunkOptions,
): Tensor {
  if (!Number.isInteger(size) || size < 1)
    throw new ValueError("callInChunks", `size is ${size}`, "use a positive number of rows");
  const rows = x.shape[axis] ?? 1;
  if (rows <= size) return module.call(x);
  const again = module.captureModes();
  const sizes = Array.from({ length: Math.ceil(rows / size) }, (_, i) => Math.min(size, rows - i * size));
  return x.engine.scope(() => {
    const [first, ...rest] = x.split(sizes, axis).map((part) => checkpoint((p) => again(() => module.call(p)), part));
    return first!.concat(rest, axis);
  });
}
