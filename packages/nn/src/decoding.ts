import { type Engine, type Tensor, zeros } from "@revnet-zero/tensor";

/** Keys and values `[batch, heads, length, dim]` that an attention layer keeps. */
export interface KeptSteps {
  readonly keys: Tensor;
  readonly values: Tensor;
}

const running = new WeakMap<Engine, Decoding>();

/** What decodes on an engine now. */
export const decodingOf = (engine: Engine): Decoding | undefined => running.get(engine);

/**
 * Decoding step by step: the places of the step, in device memory, and what attention layers keep of the steps before it. Inside `during`
 * `Attention` and `LearnedPositions` are given one step `[batch, 1, dim]`, of every sequence the one at its place. A step is the same work at
 * every place, so it can be recorded. Inside `duringPrompt` they are given the first steps of all sequences `[batch, time, dim]` at once; of
 * a sequence that has fewer, what follows is kept where its next steps will be, and is written over before any of them sees it. Not differentiable.
 */
export class Decoding {
  readonly engine: Engine;
  /** Steps that can be kept. */
  readonly length: number;
  /** i32 `[batch]`. */
  readonly places: Tensor;
  #isPrompt = false;
  readonly #kept = new Map<object, KeptSteps>();

  constructor({
    engine,
    length,
    batch,
  }: {
    readonly engine: Engine;
    readonly length: number;
    readonly batch: number;
  }) {
    this.engine = engine;
    this.length = length;
    this.places = engine.keep(zeros([batch], { dtype: "i32", engine }));
  }

  /** Whether layers are given the first steps of all sequences. */
  get isPrompt(): boolean {
    return this.#isPrompt;
  }

  during<T>(f: () => T): T {
    const before = running.get(this.engine);
    running.set(this.engine, this);
    try {
      return f();
    } finally {
      if (before === undefined) running.delete(this.engine);
      else running.set(this.engine, before);
    }
  }

  duringPrompt<T>(f: () => T): T {
    this.#isPrompt = true;
    try {
      return this.during(f);
    } finally {
      this.#isPrompt = false;
    }
  }

  /** What a layer keeps, made when first asked for in the type of `heads` `[batch, …]`. */
  keptBy(layer: object, heads: Tensor, [keyHeads, dim]: readonly [number, number]): KeptSteps {
    let kept = this.#kept.get(layer);
    if (kept === undefined) {
      const { engine, length } = this;
      const make = (): Tensor =>
        engine.keep(zeros([heads.shape[0]!, keyHeads, length, dim], { dtype: heads.dtype, engine }));
      kept = { keys: make(), values: make() };
      this.#kept.set(layer, kept);
    }
    return kept;
  }

  dispose(): void {
    this.places.dispose();
    for (const { keys, values } of this.#kept.values()) for (const t of [keys, values]) t.dispose();
    this.#kept.clear();
  }
}
