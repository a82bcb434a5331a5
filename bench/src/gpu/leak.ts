import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { Engine } from "@revnet-zero/tensor";
import { train } from "./exactness.ts";

/** Bytes over the steps of a run, those of the first steps left out: they compile, and make the optimizer's state. */
export interface MemoryOverSteps {
  readonly least: number;
  readonly most: number;
  readonly driverLeast: number;
  readonly driverMost: number;
  /** After everything was disposed. */
  readonly liveBlocks: number;
}

const SETTLED = 5;
/** Asking the driver is slow. */
const ASK_DRIVER_EVERY = 10;

/** Trains a small model of one layer: what is handed out after every step, and what the driver has given. */
export async function memoryOverSteps(backend: CudaBackend, steps: number): Promise<MemoryOverSteps> {
  const [used, given]: [number[], number[]] = [[], []];
  const small = { numLayers: 1, dModel: 32, numHeads: 2, batchSize: 2, sequenceLength: 32, microBatches: 1 };
  let step = 0;
  await train(new Engine(backend), steps, "exact", {
    ...small,
    onStep: () => {
      if (++step < SETTLED) return;
      used.push(backend.device.allocator.usedBytes);
      if (step % ASK_DRIVER_EVERY !== 0) return;
      const { totalBytes, freeBytes } = backend.memory();
      given.push(totalBytes - freeBytes);
    },
  });
  const range = (values: readonly number[]): [number, number] => [
    values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    values.reduce((a, b) => Math.max(a, b), 0),
  ];
  const [[least, most], [driverLeast, driverMost]] = [range(used), range(given)];
  return { least, most, driverLeast, driverMost, liveBlocks: backend.memory().liveBlocks };
}
