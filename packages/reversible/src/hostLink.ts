import { type Backend, BackendError, type HostCopies } from "@revnet-zero/tensor";

/** Bytes of the copies that are timed, where the device has room for them. */
const SIZES = [2 ** 24, 2 ** 20, 2 ** 12];
const ROUNDS = 3;

const known = new WeakMap<HostCopies<unknown>, number>();

/** What copies of a device to its host and back reach, the mean over both directions: measured once. */
export function bytesPerMsOf(backend: Backend): number {
  const copies = backend.hostCopies!;
  const found = known.get(copies) ?? measure(backend, copies);
  known.set(copies, found);
  return found;
}

function measure(backend: Backend, copies: HostCopies<unknown>): number {
  const [data, bytes] = largest(backend);
  const elements = bytes / 4;
  try {
    // Pinned memory is made by the first, which is not timed.
    copies.copy(data, "i32", elements).release();
    const before = copies.copiesMs();
    for (let round = 0; round < ROUNDS; round++) {
      const copy = copies.copy(data, "i32", elements);
      copy.copyTo(data);
      copy.release();
    }
    // A clock may see no time pass.
    return (2 * ROUNDS * bytes) / Math.max(copies.copiesMs() - before, 1e-3);
  } finally {
    backend.free(data);
  }
}

function largest(backend: Backend): readonly [data: unknown, bytes: number] {
  for (const bytes of SIZES) {
    try {
      return [backend.allocate("i32", bytes / 4), bytes];
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  throw new BackendError(
    "offload",
    `the ${backend.name} device has no room for ${SIZES.at(-1)} bytes, to measure its copies`,
    "free some tensors before",
  );
}
