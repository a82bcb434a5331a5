import { type Backend, type DType, dtypes, isFloat, type Kernel, type OpName, toWords } from "@revnet-zero/tensor";

/** What to change in a backend; everything else is passed on. */
export interface BackendChanges extends Partial<Omit<Backend, "kernels">> {
  /** Kernels put in place of the backend's, or taken away (undefined). */
  readonly kernels?: { readonly [K in OpName]?: Kernel<unknown, never> | undefined };
}

/** A backend with parts replaced: for planting defects, and for watching what the engine asks for. */
export function wrapBackend(backend: Backend, { kernels = {}, ...changes }: BackendChanges): Backend {
  const table = Object.fromEntries(
    Object.entries({ ...backend.kernels, ...kernels }).filter(([, kernel]) => kernel !== undefined),
  );
  const readSync = backend.readSync?.bind(backend);
  const bytesOf = backend.bytesOf?.bind(backend);
  return {
    name: backend.name,
    isSynchronous: backend.isSynchronous,
    kernels: table as unknown as Backend["kernels"],
    elementwise: (op, attrs, inputs, output) => backend.elementwise(op, attrs, inputs, output),
    allocate: (dtype, elements) => backend.allocate(dtype, elements),
    free: (data) => backend.free(data),
    write: (data, values) => backend.write(data, values),
    read: (data, dtype, elements) => backend.read(data, dtype, elements),
    ...(readSync === undefined ? {} : { readSync }),
    ...(backend.largestTemporary === undefined ? {} : { largestTemporary: backend.largestTemporary }),
    ...(backend.arithmetic === undefined ? {} : { arithmetic: backend.arithmetic }),
    ...(backend.dtypes === undefined ? {} : { dtypes: backend.dtypes }),
    ...(bytesOf === undefined ? {} : { bytesOf }),
    releaseCaches: () => backend.releaseCaches?.(),
    ...changes,
  };
}

/** New buffers come filled with this: a kernel that leaves an element unwritten, or adds to it, shows. */
export function poisoned(backend: Backend, kind: "large" | "not a number"): Backend {
  const poison = (dtype: DType): number => {
    if (kind === "large") return isFloat(dtype) ? 1e4 : 1;
    return dtypes[dtype].range?.[1] ?? Number.NaN;
  };
  return wrapBackend(backend, {
    allocate: (dtype, elements) => {
      const data = backend.allocate(dtype, elements);
      backend.write(data, toWords(new Float64Array(elements).fill(poison(dtype)), dtype));
      return data;
    },
  });
}
