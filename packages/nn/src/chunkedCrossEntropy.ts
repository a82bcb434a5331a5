import { checkpoint, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { Module } from "./module.ts";

/** Logits that exist at a time: 64 MiB of f32. */
const MOST_LOGITS = 2 ** 24;

export interface ChunkedCrossEntropyOptions {
  /** Classes that the head tells apart: its last axis. */
  readonly classes: number;
  /** Logits that may exist at a time; one row at least. Default 2^24. */
  readonly mostLogits?: number;
}

/**
 * `head.call(x).crossEntropy(targets)` without all logits at once: rows x `[rows, dim]`, targets `[rows]` i32, result `[rows]` in nats.
 * Where there are too many logits, chunks of rows pass through the head one after the other, and again in backward, which keeps only x.
 * Chunks follow from the shapes alone: same bits every time, but not those of the whole, since a head's gradient is summed chunk by chunk.
 */
export function chunkedCrossEntropy(
  head: Module & { forward(x: Tensor): Tensor },
  x: Tensor,
  targets: Tensor,
  { classes, mostLogits = MOST_LOGITS }: ChunkedCrossEntropyOptions,
): Tensor {
  if (!(mostLogits > 0)) {
    throw new ValueError("chunkedCrossEntropy", `mostLogits is ${mostLogits}`, "use a positive number of logits");
  }
  const rows = x.shape[0]!;
  const most = Math.max(1, Math.floor(mostLogits / classes));
  if (rows <= most) return head.call(x).crossEntropy(targets);
  const again = head.captureModes();
  const sizes = Array.from({ length: Math.ceil(rows / most) }, (_, i) => Math.min(most, rows - i * most));
  const someTargets = targets.split(sizes, 0);
  const losses = x
    .split(sizes, 0)
    .map((chunk, i) => checkpoint((c, t) => again(() => head.call(c!).crossEntropy(t!)), chunk, someTargets[i]!));
  return losses[0]!.concat(losses.slice(1));
}
