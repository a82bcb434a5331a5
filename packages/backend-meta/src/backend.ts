import {
  type Backend,
  BackendError,
  type BufferView,
  type DType,
  type FusedName,
  type GraphMemory,
  type HostCopies,
  type Kernel,
  type KernelTable,
  type MemoryModel,
  type OpName,
  ops,
  type TypedArray,
} from "@revnet-zero/tensor";

/** All that is left of a buffer: what it would hold. */
export interface MetaBuffer {
  readonly dtype: DType;
  readonly elements: number;
  /** What a model of the device's memory gave for it. */
  readonly modelled?: unknown;
}

/** A value was asked for where there are only shapes. */
export class NoValuesError extends BackendError {
  override name = "NoValuesError";
}

/** What a kernel declares about its operands. It decides which copies the engine makes, and so the peak. */
type Declared = Pick<Kernel<never, never>, "inputs" | "dtypes" | "writesInside">;

/** What a device says of its buffers. */
type Memory = Pick<Backend<MetaBuffer>, "dtypes" | "bytesOf" | "largestTemporary" | "hostCopies" | "openGraphs"> & {
  readonly model?: MemoryModel<unknown> | undefined;
};

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
  /** What the device's memory comes to, where that is modelled. */
  readonly model: MemoryModel<unknown> | undefined;

  /** With no arguments: a backend of primitives only, like the reference. */
  constructor(declared: { readonly [K in OpName]?: Declared } = {}, name = "meta", memory: Memory = {}) {
    this.name = name;
    const { model, ...own } = memory;
    this.model = model;
    this.kernels = tableOf(declared, model);
    Object.assign(this, own);
  }

  /**
   * The memory behaviour of another backend: its fused kernels, and which of its kernels need contiguous copies. The
   * same program has the same ledger on both, byte for byte. `modelsMemory`: what the device's allocator makes of it, and what kernels take beside
   * tensors, is followed too, if the backend can say it.
   */
  static like(backend: Backend, { modelsMemory = false }: { readonly modelsMemory?: boolean } = {}): MetaBackend {
    const { dtypes, bytesOf, largestTemporary, hostCopies } = backend;
    const model = modelsMemory ? backend.memoryModel?.() : undefined;
    return new MetaBackend(backend.kernels, `meta (${backend.name})`, {
      ...(dtypes === undefined ? {} : { dtypes }),
      ...(bytesOf === undefined ? {} : { bytesOf: bytesOf.bind(backend) }),
      ...(largestTemporary === undefined ? {} : { largestTemporary }),
      ...(hostCopies === undefined ? {} : { hostCopies: noCopies }),
      ...(backend.openGraphs === undefined ? {} : { openGraphs: () => graphMemory(model) }),
      model,
    });
  }

  elementwise(): void {}

  allocate(dtype: DType, elements: number): MetaBuffer {
    return this.model === undefined
      ? { dtype, elements }
      : { dtype, elements, modelled: this.model.allocate(dtype, elements) };
  }
  free({ modelled }: MetaBuffer): void {
    this.model?.free(modelled);
  }
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
function graphMemory(model: Model): GraphMemory<MetaBuffer> {
  const pieces: MetaBuffer[] = [];
  const bufferOf = (elements: number, modelled: unknown): MetaBuffer => ({ dtype: "u8", elements, modelled });
  return {
    allocate: (bytes) => {
      const piece = bufferOf(bytes, model?.allocate("u8", bytes));
      pieces.push(piece);
      return piece;
    },
    part: ({ modelled }, offset, bytes) => bufferOf(bytes, model?.part(modelled, offset, bytes)),
    capture: (_, work) => {
      work();
      return { launch: () => {}, dispose: () => {} };
    },
    dispose: () => {
      for (const { modelled } of pieces.splice(0)) model?.free(modelled);
    },
  };
}

type Model = MemoryModel<unknown> | undefined;

function tableOf(declared: Readonly<Record<string, Declared | undefined>>, model: Model): KernelTable<MetaBuffer> {
  const names = Object.values(ops).flatMap((op) =>
    op.kind === "primitive" || (op.kind === "fused" && declared[op.name] !== undefined) ? [op.name] : [],
  );
  const kernels = names.map((name) => [name, kernel(name, declared[name], model)] as const);
  return Object.fromEntries(kernels) as unknown as KernelTable<MetaBuffer>;
}

const kernel = (
  name: string,
  { inputs, dtypes, writesInside }: Declared = {},
  model: Model,
): Kernel<MetaBuffer, unknown> => ({
  ...(inputs === undefined ? {} : { inputs }),
  ...(dtypes === undefined ? {} : { dtypes }),
  ...(writesInside === undefined ? {} : { writesInside }),
  run: (from, to, attrs) => model?.run(name, from.map(modelledView), to.map(modelledView), attrs),
});

const modelledView = (view: BufferView<MetaBuffer>): BufferView<unknown> => ({ ...view, data: view.data.modelled });
