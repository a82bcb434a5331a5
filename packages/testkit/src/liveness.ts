import { type Backend, type BufferView, dtypes, type Kernel } from "@revnet-zero/tensor";
import { wrapBackend } from "./wrap.ts";

/** What a program needed, measured beside the ledger: by watching which buffers its kernels touched. */
export interface Liveness {
  /** Most bytes that were allocated at once. */
  readonly peakBytes: number;
  /**
   * Most bytes that had to be: a buffer counts from the kernel that first wrote it to the last that touched it, or
   * for good when it was never freed.
   */
  readonly idealBytes: number;
}

interface Life {
  readonly bytes: number;
  first: number | undefined;
  last: number;
  isFreed: boolean;
}

/** A backend that notes the life of every buffer. Make an engine on it, run the program, then ask. */
export function watchLiveness(backend: Backend): { readonly backend: Backend; readonly report: () => Liveness } {
  const lives: Life[] = [];
  const current = new Map<unknown, Life>();
  let now = 0;
  let allocated = 0;
  let peakBytes = 0;

  const touch = (data: unknown): void => {
    const life = current.get(data)!;
    life.first ??= now;
    life.last = now;
  };
  const step = (views: readonly BufferView<unknown>[]): void => {
    now++;
    for (const v of views) touch(v.data);
  };
  const watched = (kernel: Kernel<unknown, unknown>): Kernel<unknown, unknown> => ({
    ...kernel,
    run: (inputs, outputs, attrs) => {
      step([...inputs, ...outputs]);
      kernel.run(inputs, outputs, attrs);
    },
  });

  const kernels = Object.entries(backend.kernels).map(([name, k]) => [name, watched(k as Kernel<unknown, unknown>)]);
  const { readSync } = backend;
  const wrapped = wrapBackend(backend, {
    kernels: Object.fromEntries(kernels),
    elementwise: (op, attrs, inputs, output) => {
      step([...inputs, output]);
      backend.elementwise(op, attrs, inputs, output);
    },
    allocate: (dtype, elements) => {
      const data = backend.allocate(dtype, elements);
      const bytes = backend.bytesOf?.(dtype, elements) ?? elements * dtypes[dtype].bytes;
      const life: Life = { bytes, first: undefined, last: now, isFreed: false };
      lives.push(life);
      current.set(data, life);
      allocated += bytes;
      peakBytes = Math.max(peakBytes, allocated);
      return data;
    },
    free: (data) => {
      const life = current.get(data)!;
      life.isFreed = true;
      current.delete(data);
      allocated -= life.bytes;
      backend.free(data);
    },
    write: (data, values) => {
      step([]);
      touch(data);
      backend.write(data, values);
    },
    read: (data, dtype, elements) => {
      touch(data);
      return backend.read(data, dtype, elements);
    },
    ...(readSync === undefined
      ? {}
      : {
          readSync: (data, dtype, elements) => {
            touch(data);
            return readSync.call(backend, data, dtype, elements);
          },
        }),
  });
  return { backend: wrapped, report: () => ({ peakBytes, idealBytes: ideal(lives, now) }) };
}

function ideal(lives: readonly Life[], end: number): number {
  const changes = new Float64Array(end + 2);
  for (const { bytes, first, last, isFreed } of lives) {
    if (first === undefined) continue;
    changes[first]! += bytes;
    changes[isFreed ? last + 1 : end + 1]! -= bytes;
  }
  let [live, most] = [0, 0];
  for (const change of changes) {
    live += change;
    most = Math.max(most, live);
  }
  return most;
}
