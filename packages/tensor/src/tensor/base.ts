import { type BackwardOptions, backward } from "../autograd/backward.ts";
import { type Edge, LeafNode } from "../autograd/node.ts";
import { type DType, dtypes, gradientDType, isFloat, mayBeStream, type TypedArray } from "../dtype.ts";
import type { Engine } from "../engine.ts";
import { AutogradError, BackendError, describe, LifetimeError, ShapeError } from "../errors.ts";
import { fromBf16, fromF16 } from "../float16.ts";
import { isContiguous, type Layout } from "../layout.ts";
import type { Storage } from "../memory/storage.ts";
import type { OpDef } from "../op.ts";
import { copy, fill } from "../ops/copy.ts";
import { alias } from "../ops/view.ts";
import { numel, type Shape } from "../shape.ts";
import { dispatch } from "./dispatch.ts";
import type { TensorInit } from "./link.ts";
import type { Tensor } from "./tensor.ts";

/** The values of a tensor on the host: 16-bit floats as f32, truth values as 0 and 1. */
export type HostData = Exclude<TypedArray, Uint16Array>;

/** Identity, memory and graph of a tensor; the classes built on this add the verbs. */
export abstract class TensorBase<S extends Shape = Shape> {
  readonly engine: Engine;
  /** @internal */
  readonly storage: Storage;
  readonly layout: Layout;
  readonly dtype: DType;
  /** Where this value came from in the graph; undefined for constants. */
  edge: Edge | undefined;
  /** Filled by backward for leaves (tensors made by `requireGrad`). Owned by this tensor. */
  grad: Tensor | undefined;
  /** A name for messages: modules give their parameters the path in the model. */
  name: string | undefined;
  #isDisposed = false;
  #pins = 1;

  constructor(init: TensorInit) {
    this.engine = init.engine;
    this.storage = init.storage;
    this.layout = init.layout;
    this.dtype = init.dtype;
    this.edge = init.edge;
    init.edge?.node.retain();
    init.engine.countHandle(1);
    if (init.isScoped !== false) init.engine.scopes.top?.owned.add(this as unknown as Tensor);
  }

  protected abstract get self(): Tensor;

  get shape(): S {
    return this.layout.shape as S;
  }
  get rank(): number {
    return this.layout.shape.length;
  }
  get size(): number {
    return numel(this.layout.shape);
  }
  get bytes(): number {
    return this.size * dtypes[this.dtype].bytes;
  }

  // -- lifetime -----------------------------------------------------------------------------------------------------

  get isDisposed(): boolean {
    return this.#isDisposed;
  }

  /** Frees the memory, unless views or the graph still need it. Calling it again does nothing. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.unpin();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal Keeps the value although the handle may be disposed: the graph's hold on captured tensors. */
  pin(): void {
    this.#pins++;
  }

  /** @internal */
  unpin(): void {
    if (--this.#pins > 0) return;
    this.engine.countHandle(-1);
    this.engine.scopes.top?.owned.delete(this.self);
    this.storage.release();
    this.edge?.node.release();
    this.grad?.dispose();
    this.grad = undefined;
  }

  /** @internal */
  assertAlive(op: string): void {
    if (this.#pins > 0) return;
    throw new LifetimeError(
      op,
      `operand ${describe(this)}${this.name === undefined ? "" : ` (${this.name})`} was disposed`,
      "return it from its scope, or engine.keep(t) it",
    );
  }

  // -- running ops --------------------------------------------------------------------------------------------------

  /** Runs an op of the table (or one of your own) and gives its first output; the others are dropped. */
  apply<A>(op: OpDef<A>, inputs: readonly Tensor[], attrs: A): Tensor {
    const [first, ...rest] = dispatch(this.engine, op, inputs, attrs);
    for (const t of rest) t.dispose();
    return first!;
  }

  /** Runs an op and gives all its outputs. */
  applyAll<A>(op: OpDef<A>, inputs: readonly Tensor[], attrs: A): Tensor[] {
    return dispatch(this.engine, op, inputs, attrs);
  }

  /** A constant on the same engine. */
  fullOf(shape: Shape, value: number, dtype: DType = this.dtype): Tensor {
    return this.apply(fill, [], { shape, dtype, value });
  }
  zerosLike(): Tensor {
    return this.fullOf(this.shape, 0, gradientDType(this.dtype));
  }
  onesLike(): Tensor {
    return this.fullOf(this.shape, 1, gradientDType(this.dtype));
  }

  /** A copy with a buffer of its own. */
  clone(): Tensor {
    return this.apply(copy, [this.self], undefined);
  }

  /** This tensor if its elements lie row-major without gaps, else a copy. */
  contiguous(): Tensor {
    return isContiguous(this.layout) ? this.self : this.clone();
  }

  // -- gradients ----------------------------------------------------------------------------------------------------

  /** True for tensors that gradients flow to or through. */
  get requiresGrad(): boolean {
    return this.edge !== undefined;
  }

  /** Makes this tensor a leaf: backward fills its `grad`. */
  requireGrad(isOn = true): Tensor {
    if (!isOn) {
      if (this.edge !== undefined && !(this.edge.node instanceof LeafNode)) {
        throw new AutogradError(
          "requireGrad",
          "only a leaf can stop requiring a gradient",
          "use detach() on a computed tensor",
        );
      }
      this.edge?.node.release();
      this.edge = undefined;
      return this.self;
    }
    if (this.edge !== undefined) return this.self;
    if (!isFloat(this.dtype) && !mayBeStream(this.dtype)) {
      throw new AutogradError("requireGrad", `${describe(this)} has no gradient`, 'cast it first: x.cast("f32")');
    }
    const node = new LeafNode(this.engine.nextNodeId(), this.self);
    node.retain();
    this.edge = { node, output: 0 };
    return this.self;
  }

  /** The same value outside the graph (shares memory). */
  detach(): Tensor {
    const { engine, layout, dtype } = this;
    this.assertAlive("detach");
    return this.wrap({ engine, storage: this.storage.retain(), layout, dtype });
  }

  /** The same value as a new node of the graph (shares memory). */
  alias(): Tensor {
    return this.apply(alias, [this.self], undefined);
  }

  /** Adds to `.grad` of every leaf this (scalar) depends on. */
  backward(options?: BackwardOptions): void {
    backward(this.self, options);
  }

  // -- reading ------------------------------------------------------------------------------------------------------

  /** The elements in row-major order. Works on every backend. */
  async data(): Promise<HostData> {
    return toNumbers(await this.#read("data"), this.dtype);
  }

  /** Like `data`, at once; only on backends in host memory. */
  dataSync(): HostData {
    return toNumbers(this.#readSync("dataSync"), this.dtype);
  }

  /** The elements as they are held, in row-major order: bf16 and f16 as 16-bit patterns. `fromWords` makes the tensor again. */
  words(): Promise<TypedArray> {
    return this.#read("words");
  }

  /** Like `words`, at once; only on backends in host memory. */
  wordsSync(): TypedArray {
    return this.#readSync("wordsSync");
  }

  async #read(method: string): Promise<TypedArray> {
    this.assertAlive(method);
    const dense = this.#dense();
    try {
      const start = firstOf(dense);
      const raw = await this.engine.backend.read(dense.storage.data, this.dtype, start + this.size);
      return raw.slice(start);
    } finally {
      if (dense !== this.self) dense.dispose();
    }
  }

  #readSync(method: "dataSync" | "wordsSync"): TypedArray {
    this.assertAlive(method);
    const { backend } = this.engine;
    if (backend.readSync === undefined) {
      throw new BackendError(
        method,
        `the ${backend.name} backend cannot be read synchronously`,
        `await t.${method === "dataSync" ? "data" : "words"}() instead`,
      );
    }
    const dense = this.#dense();
    const start = firstOf(dense);
    const words = backend.readSync(dense.storage.data, this.dtype, start + this.size).slice(start);
    if (dense !== this.self) dense.dispose();
    return words;
  }

  #dense(): Tensor {
    return this.engine.noGrad(() => this.contiguous());
  }

  /** The one element of a tensor of one element. */
  async item(): Promise<number> {
    this.#assertOne("item");
    return (await this.data())[0]!;
  }
  itemSync(): number {
    this.#assertOne("itemSync");
    return this.dataSync()[0]!;
  }
  #assertOne(op: string): void {
    if (this.size !== 1)
      throw new ShapeError(op, `${describe(this)} has ${this.size} elements`, "reduce it first, or use data()");
  }

  protected abstract wrap(init: TensorInit): Tensor;
}

/** Where a tensor's elements begin in its buffer. A view without elements may point anywhere, before the beginning too. */
const firstOf = ({ size, layout }: TensorBase): number => (size === 0 ? 0 : layout.offset);

function toNumbers(words: TypedArray, dtype: DType): HostData {
  if (dtype === "bf16") return decoded(words, fromBf16);
  if (dtype === "f16") return decoded(words, fromF16);
  return words as HostData;
}

/** A loop: `Float32Array.from` with a function takes ten times as long. */
function decoded(words: TypedArray, decode: (word: number) => number): Float32Array {
  const values = new Float32Array(words.length);
  for (let i = 0; i < values.length; i++) values[i] = decode(words[i]!);
  return values;
}

/** Reads several tensors with one wait. */
export function readAll(tensors: readonly TensorBase[]): Promise<HostData[]> {
  return Promise.all(tensors.map((t) => t.data()));
}
