import type { Norm } from "@revnet-zero/nn";
import type { DType, Tensor } from "@revnet-zero/tensor";

export interface StreamSum {
  readonly stream: Tensor;
  /** The norm that was wanted of it, where the arithmetic computes it in the same pass, and its statistics. */
  readonly normalised?: Tensor | undefined;
  readonly statistics?: readonly Tensor[] | undefined;
}

/** Where an addition counts increments that saturated, sums that wrapped and increments that were NaN: it adds to the row of a record [rows, 3] of i32. */
export interface CountsRow {
  readonly record: Tensor;
  readonly row: number;
}

/** What an addition is told besides its operands. */
export interface AddOptions {
  /** A whole number other than 0: how often the (quantised) increment is added. */
  readonly times: number;
  /** The norm whose value on the new stream is wanted too, from the same pass over it. */
  readonly norm?: Norm | undefined;
  /** Nothing is counted without it. */
  readonly counts?: CountsRow | undefined;
}

/** A stream added a whole number of times. The stream is only read. */
export interface Term {
  readonly stream: Tensor;
  readonly times: number;
}

/**
 * What one step may remember so that it can be undone exactly. The sequence owns it: it lives as long as the graph,
 * counts as `saved`, and goes with the streams from block to block.
 */
export interface StepMemory {
  /**
   * The information buffer of the target stream (see `makeBuffer`), as it is now; assign the next one. Part of the
   * function's state: the stored form has the same one.
   */
  buffer: Tensor;
  /** Whether what is pushed will be asked for: not under noGrad. */
  readonly keeps: boolean;
  /** Keeps tensors that the inverse of this very step takes again: last in, first out. */
  push(...tensors: Tensor[]): void;
  /** The tensor pushed last, which the caller's scope then owns. */
  pop(): Tensor;
}

/**
 * How residual streams are kept between steps. Methods that return a stream give up the one they are given: the buffer
 * is written over when nobody else holds it, so that a whole network runs in one set of streams. Each pair is a map and
 * its inverse; runs are unrecorded.
 */
export interface StreamArithmetic {
  /** What errors call it. */
  readonly name: string;
  /** Whether the second of each pair undoes the first bit for bit. */
  readonly isExact: boolean;
  /** Whether steps push what their inverses need: then outputs alone cannot be undone. */
  readonly remembers: boolean;
  /** The type of its streams. Tensors of it that enter are streams, and streams come out; floats give floats. */
  readonly dtype: DType;
  /** Of i32 streams whose value is a whole number times 2^-fractionBits: norms may read them as they are. */
  readonly fractionBits?: number;
  /** A float tensor as a stream; a stream as itself (another handle). */
  enter(x: Tensor): Tensor;
  /** A stream as the float tensor that branches read. */
  read(stream: Tensor): Tensor;

  /** stream + times · increment. */
  add(stream: Tensor, increment: Tensor, options: AddOptions, memory: StepMemory): StreamSum;
  /** Nothing is counted. */
  remove(stream: Tensor, increment: Tensor, options: AddOptions, memory: StepMemory): StreamSum;

  /** sign · stream + Σ times · source. */
  combine(stream: Tensor, sign: 1 | -1, terms: readonly Term[], memory: StepMemory): Tensor;
  separate(stream: Tensor, sign: 1 | -1, terms: readonly Term[], memory: StepMemory): Tensor;

  /** stream · factor, an f32 tensor that broadcasts to the stream. Arithmetics that cannot undo it throw. */
  scale(stream: Tensor, factor: Tensor, memory: StepMemory): Tensor;
  unscale(stream: Tensor, factor: Tensor, memory: StepMemory): Tensor;

  /** The first information buffer of a stream. Arithmetics without this have none. */
  makeBuffer?(stream: Tensor): Tensor;
}

/**
 * The same function as a `StreamArithmetic`, by ordinary recorded ops: what `store` and `checkpoint` run, and the oracle
 * of the reconstruction, with which it shares no code. Streams are values like any other: nothing is given up.
 */
export interface StoredArithmetic {
  readonly dtype: DType;
  enter(x: Tensor): Tensor;
  /** A stream as a float, passing gradients straight through. */
  read(stream: Tensor): Tensor;
  add(stream: Tensor, increment: Tensor, times: number): Tensor;
  combine(stream: Tensor, sign: 1 | -1, terms: readonly Term[]): Tensor;
  /** Gradients are those of read(stream) · factor. */
  scale(stream: Tensor, factor: Tensor, memory: Pick<StepMemory, "buffer">): Tensor;
  makeBuffer?(stream: Tensor): Tensor;
}
