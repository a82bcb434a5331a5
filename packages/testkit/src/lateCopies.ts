import { type Backend, dtypes, type HostCopies, type TypedArray } from "@revnet-zero/tensor";

/**
 * A backend whose buffers are arrays as a device: its copies in host memory are made at the latest moment at which the contract allows it, when somebody settles them. So
 * a buffer that is written or freed before gives other numbers.
 */
export function withLateCopies(backend: Backend): Backend & { readonly copying: { readonly count: number } } {
  const copying = { count: 0 };
  // One after the other, as on a stream.
  let pending: { readonly of: object; readonly move: () => void }[] = [];
  const settle = (): void => {
    const now = pending;
    pending = [];
    for (const { move } of now) move();
  };
  const hostCopies: HostCopies<unknown> = {
    copy: (data, dtype, elements) => {
      const words = new dtypes[dtype].array(elements);
      copying.count++;
      const [out, back] = [{}, {}];
      pending.push({ of: out, move: () => words.set((data as TypedArray).subarray(0, elements) as never) });
      return {
        copyTo: (to) => void pending.push({ of: back, move: () => (to as TypedArray).set(words as never) }),
        settle,
        release: () => {
          if (pending.some(({ of }) => of === back)) settle();
          // Its buffer may be another's by the time at which this would be read.
          pending = pending.filter(({ of }) => of !== out);
          copying.count--;
        },
      };
    },
    copiesMs: () => 0,
    waitsMs: () => 0,
  };
  return Object.assign(backend, { hostCopies, copying });
}
