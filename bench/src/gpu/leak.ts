import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { Engine } from "@revnet-zero/tensor";
import { train } from "./exactness.ts";

/** The least and the most of what was looked at. */
export interface Range {
  readonly least: number;
  readonly most: number;
}

/** Bytes over the steps of a run, those of the first steps left out: they compile, and make the optimizer's state. */
export interface MemoryOverSteps {
  readonly used: Range;
  /** Taken from the driver, what is kept for reuse included. The driver's own count is the device's, other processes' memory in it. */
  readonly reserved: Range;
  /** After everything was disposed. */
  readonly liveBlocks: number;
}

const widen = ({ least, most }: Range, value: number): Range => ({
  least: Math.min(least, value),
  most: Math.max(most, value),
});
const nothing: Range = { least: Number.POSITIVE_INFINITY, most: 0 };

/** Looks at a device's memory after every step but the first `settled`, while `run` makes them. */
export async function watchSteps(
  { device: { allocator } }: CudaBackend,
  settled: number,
  run: (afterStep: () => void) => Promise<unknown>,
): Promise<MemoryOverSteps> {
  let [used, reserved, steps] = [nothing, nothing, 0];
  await run(() => {
    if (++steps <= settled) return;
    used = widen(used, allocator.usedBytes);
    reserved = widen(reserved, allocator.reservedBytes);
  });
  return { used, reserved, liveBlocks: allocator.liveBlocks };
}

/** Trains a small model of one layer. */
export function memoryOverSteps(backend: CudaBackend, steps: number): Promise<MemoryOverSteps> {
  const small = { numLayers: 1, dModel: 32, numHeads: 2, batchSize: 2, sequenceLength: 32, microBatches: 1 };
  return watchSteps(backend, 4, (onStep) => train(new Engine(backend), steps, "exact", { ...small, onStep }));
}
