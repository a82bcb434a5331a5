import { CpuBackend } from "@revnet-zero/backend-cpu";
import { type Backend, dtypes, type HostCopies, type TypedArray } from "@revnet-zero/tensor";

/**
 * The CPU as a device: its copies in host memory are made at the latest moment at which the contract allows it, when somebody settles them. So
 * a buffer that is written or freed before gives other numbers.
 */
export function deviceWithLateCopies(): Backend & { readonly copying: { count: number } } {
  const backend = new CpuBackend() as Backend;
  const copying = { count: 0 };
  // One after the other, as on a stream.
  let pending: (() => void)[] = [];
  const settle = (): void => {
    const now = pending;
    pending = [];
    for (const move of now) move();
  };
  const hostCopies: HostCopies<unknown> = {
    copy: (data, dtype, elements) => {
      const words = new dtypes[dtype].array(elements);
      copying.count++;
      pending.push(() => words.set((data as TypedArray).subarray(0, elements) as never));
      return {
        copyTo: (to) => void pending.push(() => (to as TypedArray).set(words as never)),
        settle,
        release: () => {
          settle();
          copying.count--;
        },
      };
    },
    times: () => ({ copiesMs: 0, waitsMs: 0 }),
  };
  return Object.assign(backend, { hostCopies, copying });
}
