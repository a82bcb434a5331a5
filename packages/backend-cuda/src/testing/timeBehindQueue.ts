import type { CudaDevice } from "../device/device.ts";

const COPIED = 2 ** 27;
/** So fast does no device copy: reading and writing. */
const BYTES_PER_MS = 8e9;
const WARM_UP = 3;

/**
 * Milliseconds that a run takes on the device, whatever the host takes to ask for it: copies keep the device busy until all runs have been asked
 * for. One run alone is timed as it comes.
 */
export function timeBehindQueue(device: CudaDevice, run: () => void, runs: number): number {
  const { native, guard } = device;
  for (let i = 0; i < WARM_UP; i++) run();
  guard(() => native.synchronize());
  const start = performance.now();
  run();
  const hostMs = performance.now() - start;
  const copies = runs === 1 ? 0 : Math.ceil(((2 * hostMs * runs + 1) * BYTES_PER_MS) / (2 * COPIED));
  const timed = (): number =>
    guard(() => {
      const first = native.recordEvent();
      for (let i = 0; i < runs; i++) run();
      return native.elapsed(first, native.recordEvent()) / runs;
    });
  if (copies === 0) return timed();
  return device.withWorkspace(COPIED, (from) =>
    device.withWorkspace(COPIED, (to) => {
      guard(() => {
        for (let i = 0; i < copies; i++) native.copy(to, from, COPIED);
      });
      return timed();
    }),
  );
}
