import type {
  BufferView,
  CastCopy,
  DType,
  ElementwiseOp,
  Key,
  Layout,
  MemoryCategory,
  Storage,
  TypedArray,
} from "@revnet-zero/tensor";

// A recorded computation as data: what the engine asked of its backend, in order, on buffers that have numbers instead of addresses.

/** A buffer of the computation. */
export type Slot =
  | { readonly kind: "argument"; readonly index: number }
  /** Made outside and alive since: parameters, running statistics. */
  | { readonly kind: "captured"; readonly storage: Storage }
  | { readonly kind: "made"; readonly dtype: DType; readonly elements: number };

/** A slot seen through a layout. */
export interface SlotView extends Layout {
  readonly slot: Slot;
  readonly dtype: DType;
}

interface Reading {
  readonly inputs: readonly SlotView[];
  readonly outputs: readonly SlotView[];
}

/** A structural kernel, bound to its backend. */
export interface KernelCall extends Reading {
  readonly kind: "kernel";
  readonly name: string;
  readonly run: (
    inputs: readonly BufferView<unknown>[],
    outputs: readonly BufferView<unknown>[],
    attrs: unknown,
  ) => void;
  readonly attrs: unknown;
}

/** An op with a scalar body. */
export interface ElementwiseCall extends Reading {
  readonly kind: "elementwise";
  // biome-ignore lint/suspicious/noExplicitAny: see AnyOp.
  readonly op: ElementwiseOp<any>;
  readonly attrs: unknown;
}

/** Numbers of the host, which stay what they were. */
export interface HostWrite extends Reading {
  readonly kind: "write";
  readonly words: TypedArray;
}

/** Numbers that the host makes at every call (`hostValues`). */
export interface HostValues extends Reading {
  readonly kind: "values";
  readonly make: () => TypedArray;
}

/**
 * What is asked of a copy in host memory (`HostCopies`): that it is begun, brought back, waited for, given up. It reads, or
 * writes, the buffer that is on its way, from the copy's begin until it is waited for or given up.
 */
export interface HostMove extends Reading {
  readonly kind: "copy" | "copyTo" | "settle" | "release";
  /** Which of the program's copies. */
  readonly copy: number;
}

export type Instruction = KernelCall | ElementwiseCall | HostWrite | HostValues | HostMove;

/** What the function returned, a tensor of it. */
export interface Result extends SlotView {
  readonly category: MemoryCategory;
}

export interface Program {
  readonly instructions: readonly Instruction[];
  readonly results: readonly Result[];
  readonly captured: readonly Storage[];
  /** Parameters' copies in fewer bits that it writes together with them. */
  readonly copies: readonly CastCopy[];
  /** How keys in attributes follow from the key that was ambient; those of other origin are constants. */
  readonly keyOf: (key: Key) => KeyPath | undefined;
}

/** The numbers folded into the ambient key, the first first. */
export type KeyPath = readonly number[];
