import type { DType, TypedArray } from "./dtype.ts";
import type { Layout } from "./layout.ts";
import type { AttrsOf, ElementwiseOp, FusedOp, OpDef, PrimitiveOp } from "./op.ts";
import type * as ops from "./ops/index.ts";
import type { Key } from "./rng.ts";

// A backend is a connector to one kind of memory and the kernels that work on it. It knows nothing of tensors, tapes
// or scopes: it is handed views with checked shapes and dtypes, and output buffers that the engine allocated.

/** A backend's buffer seen through a layout. Outputs are contiguous, with offset 0 but of kernels that say otherwise. */
export interface BufferView<S> extends Layout {
  readonly data: S;
  readonly dtype: DType;
}

export interface Kernel<S, A> {
  /** "strided" reads any layout; "contiguous" gets row-major copies where needed. Default "strided". */
  readonly inputs?: "strided" | "contiguous";
  /** Types float inputs may have. With another, a fused op is decomposed and a primitive is a DTypeError. Default: all. */
  readonly dtypes?: readonly DType[];
  /** Whether outputs may begin at any multiple of 256 bytes in a buffer. Default: only where it begins. */
  readonly writesInside?: boolean;
  /** A method, so that a backend of one kind of buffer is a `Backend`: the engine hands back only what it was given. */
  run(inputs: readonly BufferView<S>[], outputs: readonly BufferView<S>[], attrs: A): void;
}

type Table = typeof ops;
export type OpName = keyof Table;
export type PrimitiveName = { [K in OpName]: Table[K] extends PrimitiveOp<infer _A> ? K : never }[OpName];
export type FusedName = { [K in OpName]: Table[K] extends FusedOp<infer _A> ? K : never }[OpName];

/** Complete by type: a primitive without a kernel does not compile; fused ops are optional. */
export type PrimitiveKernels<S> = { readonly [K in PrimitiveName]: Kernel<S, AttrsOf<Table[K]>> };
export type FusedKernels<S> = { readonly [K in FusedName]?: Kernel<S, AttrsOf<Table[K]>> };
export type KernelTable<S> = PrimitiveKernels<S> & FusedKernels<S>;

/** Work that was taken down, with its memory. */
export interface Graph<S> {
  /** Copies inputs to where the work reads them, puts these keys in the places of those it was taken down with, and does it. */
  launch(inputs: readonly (readonly [from: S, to: S])[], keys: readonly Key[]): void;
  dispose(): void;
}

/** Memory whose addresses belong to graphs, and what kernels need beside that. */
export interface GraphMemory<S> {
  /** More of it, until all is disposed. Throws RangeError when there is no room. */
  allocate(bytes: number): S;
  /** A part of what was allocated, from a multiple of 512 bytes on. */
  part(of: S, offset: number, bytes: number): S;
  /**
   * Takes down what `work` asks of the backend and does none of it. The buffers it uses stay where they are for as long as the graph lives.
   * `keys`, by identity, change from launch to launch. Whatever it throws, there is no graph then.
   */
  capture(keys: readonly Key[], work: () => void): Graph<S>;
  /** After its graphs. */
  dispose(): void;
}

/** The words of a buffer in host memory. Copies are made beside the computation: nobody waits for them unless `settle` says so. */
export interface HostCopy<S> {
  /** Begins to copy them back into a buffer. */
  copyTo(to: S): void;
  /** What the backend is asked for from now on comes after the copy that was begun last. The program goes on. */
  settle(): void;
  /** Frees them. What is being copied back is settled; nobody wants any more what is being copied out. */
  release(): void;
}

/** How a device copies its buffers to host memory beside its computation. */
export interface HostCopies<S> {
  /** Begins to copy the first `elements` elements. The buffer is to be neither written nor freed until the copy is settled, or released. */
  copy(data: S, dtype: DType, elements: number): HostCopy<S>;
  /** Milliseconds that copies took, since one of these two was first called. Waits for them. */
  copiesMs(): number;
  /** Milliseconds that the computation waited for copies. Waits for the computation. */
  waitsMs(): number;
}

/**
 * A device's memory for a program that is not run: its allocator, and what its kernels take beside tensors for as long as they run. Buffers have
 * no values and no place.
 */
export interface MemoryModel<S> {
  allocate(dtype: DType, elements: number): S;
  free(data: S): void;
  /** A part of a buffer, from a byte on. */
  part(of: S, offset: number, bytes: number): S;
  /** Takes what the kernel of an op would take, and gives it back. */
  run(op: string, inputs: readonly BufferView<S>[], outputs: readonly BufferView<S>[], attrs: unknown): void;
  /** Most bytes handed out at once so far. */
  readonly peakUsedBytes: number;
  /** Most bytes taken from the system: those, what is kept for reuse, and the gaps between. */
  readonly peakReservedBytes: number;
}

export interface Backend<S = unknown> {
  readonly name: string;
  /** True when `readSync` works (host memory); false on devices that can only be read asynchronously. */
  readonly isSynchronous: boolean;
  readonly kernels: KernelTable<S>;
  /** The types a tensor can have here; making one of another is a DTypeError. Default: all. */
  readonly dtypes?: readonly DType[];
  /** Names how its kernels round and order sums: runs on backends with equal names have equal bits. Checkpoints keep it. */
  readonly arithmetic?: string;
  /** Elements of a temporary above which it is better made in parts, where that is possible. Default 2^24. */
  readonly largestTemporary?: number;
  /** Bytes taken from the system: in use, and kept for reuse. */
  readonly reservedBytes?: number;
  /**
   * Only backends that have shapes and no values have it. Code that asks a value what to do goes on there as if it had the
   * usual one, and says here, in words, what it took for granted where that decides about bytes.
   */
  readonly assumptions?: Set<string>;
  /** Runs an op with a scalar body over broadcast inputs of any layout. `key` names the op with its attributes. */
  // biome-ignore lint/suspicious/noExplicitAny: see AnyOp.
  elementwise(op: ElementwiseOp<any>, attrs: unknown, inputs: readonly BufferView<S>[], output: BufferView<S>): void;
  /** A buffer of at least `elements` elements; contents are undefined. Throws RangeError when there is no room. */
  allocate(dtype: DType, elements: number): S;
  free(data: S): void;
  /** Bytes that such a buffer takes, for the ledger. Default: as many as the elements have on the host. */
  bytesOf?(dtype: DType, elements: number): number;
  /** Copies raw words (see `dtypes[d].array`) into the buffer. */
  write(data: S, values: TypedArray): void;
  /** Raw words of the first `elements` elements. */
  read(data: S, dtype: DType, elements: number): Promise<TypedArray>;
  readSync?(data: S, dtype: DType, elements: number): TypedArray;
  /**
   * Only backends have it that can take work down and repeat it at one call. Memory for such work: it keeps what it takes, until it
   * is disposed or `onRevoked` is called because memory is short, which has to dispose it and every graph in it.
   */
  openGraphs?(onRevoked: () => void): GraphMemory<S>;
  /** Only devices have it whose memory is handed out by an allocator of ours. */
  memoryModel?(): MemoryModel<S>;
  /** Only devices have it whose memory is not the host's. */
  readonly hostCopies?: HostCopies<S>;
  /** Called when memory runs out, before the engine gives up. */
  releaseCaches?(): void;
}

/** The type in which float64 accumulations are made: the next best one where the device has none. */
export const widestFloat = ({ dtypes }: Backend): DType => (dtypes?.includes("f64") === false ? "f32" : "f64");

/** The kernel of a structural op on a backend, or undefined when its decomposition must run. */
export function findKernel(backend: Backend, op: OpDef<never>): Kernel<unknown, unknown> | undefined {
  return (backend.kernels as Readonly<Record<string, Kernel<unknown, unknown> | undefined>>)[op.name];
}
