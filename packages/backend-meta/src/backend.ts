import {
  type Backend,
  BackendError,
  type DType,
  type FusedName,
  type GraphMemory,
  type HostCopies,
  type Kernel,
  type KernelTable,
  type OpName,
  ops,
  type TypedArray,
} from "@revnet-zero/tensor";

/** All that is left of a buffer: what it would hold. */
export interface MetaBuffer {
  readonly dtype: DType;
  readonly elements: number;
}

/** A value was asked for where there are only shapes. */
export class NoValuesError extends BackendError {
  override name = "NoValuesError";
}

/** What a kernel declares about its inputs. It decides which copies the engine makes, and so the peak. */
type Declared = Pick<Kernel<never, never>, "inputs" | "dtypes">;

/** What a device says of its buffers. */
type Memory = Pick<Backend<MetaBuffer>, "dtypes" | "bytesOf" | "largestTemporary" | "hostCopies" | "openGraphs">;

/** The fused ops a backend has kernels for; all others run as their decompositions, which need more memory. */
export type FusedSupport = { readonly [K in FusedName]?: Declared };

/**
 * A backend without memory: allocations are sizes, kernels do nothing. Shapes, scopes, graph and ledger behave as on
 * a real device, so a program's peak is known without the machine that runs it. Values do not exist: reading throws.
 */
export class MetaBackend implements Backend<MetaBuffer> {
  readonly name: string;
  readonly isSynchronous = false;
  readonly kernels: KernelTable<MetaBuffer>;
  readonly dtypes?: readonly DType[];
  readonly bytesOf?: (dtype: DType, elements: number) => number;
  /** What programs that were run here took for granted, because values that decide about bytes do not exist. */
  readonly assumptions: Set<string> = new Set();

  readonly largestTemporary?: number;
  readonly hostCopies?: HostCopies<MetaBuffer>;
  readonly openGraphs?: (onRevoked: () => void) => GraphMemory<MetaBuffer>;

  /** With no arguments: a backend of primitives only, like the reference. */
  constructor(declared: { readonly [K in OpName]?: Declared } = {}, name = "meta", memory: Memory = {}) {
    this.name = name;
    this.kernels = tableOf(declared);
    Object.assign(this, memory);
  }

  /**
   * The memory behaviour of another backend: its fused kernels, and which of its kernels need contiguous copies. The
   * same program has the same ledger on both, byte for byte.
   */
  static like(backend: Backend): MetaBackend {
    const { dtypes, bytesOf, largestTemporary, hostCopies } = backend;
    return new MetaBackend(backend.kernels, `meta (${backend.name})`, {
      ...(dtypes === undefined ? {} : { dtypes }),
      ...(bytesOf === undefined ? {} : { bytesOf: bytesOf.bind(backend) }),
      ...(largestTemporary === undefined ? {} : { largestTemporary }),
      ...(hostCopies === undefined ? {} : { hostCopies: noCopies }),
      ...(backend.openGraphs === undefined ? {} : { openGraphs: () => noMemory }),
    });
  }

  elementwise(): void {}

  allocate(dtype: DType, elements: number): MetaBuffer {
    return { dtype, elements };
  }
  free(): void {}
  write(): void {}
  read(): Promise<TypedArray> {
    return Promise.reject(this.#noValues("read"));
  }
  readSync(): TypedArray {
    throw this.#noValues("readSync");
  }

  #noValues(op: string): NoValuesError {
    return new NoValuesError(
      op,
      `the ${this.name} backend has shapes but no values`,
      "read engine.memory() for the ledger, or run the same program on an engine with a computing backend",
    );
  }
}

/** Copies of nothing: when buffers are given back follows from what is asked. */
const noCopies: HostCopies<MetaBuffer> = {
  copy: () => ({ copyTo: () => {}, settle: () => {}, release: () => {} }),
  copiesMs: () => 0,
  waitsMs: () => 0,
};

/** Graphs of nothing, in memory that is only sizes. */
const noMemory: GraphMemory<MetaBuffer> = {
  allocate: (bytes) => ({ dtype: "u8", elements: bytes }),
  part: (_, __, bytes) => ({ dtype: "u8", elements: bytes }),
  capture: (_, work) => {
    work();
    return { launch: () => {}, dispose: () => {} };
  },
  dispose: () => {},
};

function tableOf(declared: Readonly<Record<string, Declared | undefined>>): KernelTable<MetaBuffer> {
  const names = Object.values(ops).flatMap((op) =>
    op.kind === "primitive" || (op.kind === "fused" && declared[op.name] !== undefined) ? [op.name] : [],
  );
  const kernels = names.map((name) => [name, kernel(declared[name])] as const);
  return Object.fromEntries(kernels) as unknown as KernelTable<MetaBuffer>;
}

const kernel = ({ inputs, dtypes }: Declared = {}): Kernel<MetaBuffer, unknown> => ({
  ...(inputs === undefined ? {} : { inputs }),
  ...(dtypes === undefined ? {} : { dtypes }),
  run: () => {},
});
