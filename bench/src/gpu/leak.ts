import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { Engine } from "@revnet-zero/tensor";
import { train } from "./exactness.ts";

/** Bytes over the steps of a run, those of the first steps left out: they compile, and make the optimizer's state. */
export interface MemoryOverSteps {
  readonly least: number;
  readonly most: number;
  /** Taken from the driver, what is kept for reuse included. The driver's own count is the device's, other processes' memory in it. */
  readonly reservedLeast: number;
  readonly reservedMost: number;
  /** After everything was disposed. */
  readonly liveBlocks: number;
}

const SETTLED = 5;
/** Trains a small model of one layer: what is handed out after every step, and what was taken from the driver. */
export async function memoryOverSteps(backend: CudaBackend, steps: number): Promise<MemoryOverSteps> {
  const [used, reserved]: [number[], number[]] = [[], []];
  const small = { numLayers: 1, dModel: 32, numHeads: 2, batchSize: 2, sequenceLength: 32, microBatches: 1 };
  let step = 0;
  await train(new Engine(backend), steps, "exact", {
    ...small,
    onStep: () => {
      if (++step < SETTLED) return;
      const { usedBytes, reservedBytes } = backend.device.allocator;
      used.push(usedBytes);
      reserved.push(reservedBytes);
    },
  });
  const range = (values: readonly number[]): [number, number] => [
    values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    values.reduce((a, b) => Math.max(a, b), 0),
  ];
  const [[least, most], [reservedLeast, reservedMost]] = [range(used), range(reserved)];
  return { least, most, reservedLeast, reservedMost, liveBlocks: backend.memory().liveBlocks };
}
