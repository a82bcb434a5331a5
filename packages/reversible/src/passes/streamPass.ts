import type { Engine, Tensor } from "@revnet-zero/tensor";
import type { StepMemory, StreamArithmetic } from "../arithmetic/arithmetic.ts";
import type { Step } from "../steps/step.ts";
import type { BranchRunner } from "./context.ts";
import type { SideInformation } from "./side.ts";

/** A stream moved out of its scope: the pass owns its streams itself and frees each as it is replaced. */
export function ownStream(t: Tensor): Tensor {
  if (t.storage.references === 1) t.storage.category = "streams";
  return t.engine.keep(t);
}

export interface StreamPassOptions {
  readonly engine: Engine;
  readonly arithmetic: StreamArithmetic;
  /** The streams by slot, then their information buffers where the arithmetic has some. The pass owns them. */
  readonly streams: Tensor[];
  readonly runner: BranchRunner;
  /** What branches are given after the streams. */
  readonly context: readonly unknown[];
  readonly side: SideInformation;
}

/** A run over streams that it owns, step by step: what every step may use. The inverse needs nothing more. */
export class StreamPass {
  readonly engine: Engine;
  readonly arithmetic: StreamArithmetic;
  readonly streams: Tensor[];
  readonly context: readonly unknown[];
  readonly #runner: BranchRunner;
  readonly #side: SideInformation;
  readonly #numStreams: number;
  /** The number of the step being run, in the whole sequence. */
  step = 0;

  constructor({ engine, arithmetic, streams, runner, context, side }: StreamPassOptions) {
    this.engine = engine;
    this.arithmetic = arithmetic;
    this.streams = streams;
    this.context = context;
    this.#runner = runner;
    this.#side = side;
    this.#numStreams = arithmetic.makeBuffer === undefined ? streams.length : streams.length / 2;
  }

  /** Runs branches with the keys of this step, and what they remember in its section. */
  run<T>(f: () => T): T {
    const { engine, step } = this;
    return this.#runner.run(step, () => engine.withRecall(engine.ambient.recall?.section(step), f));
  }

  /** Undoes steps, the last first. */
  undoSteps(steps: readonly Step[], first: number): void {
    owning(
      () => this.streams,
      () => {
        for (let i = steps.length - 1; i >= 0; i--) {
          this.step = first + i;
          this.engine.scope(() => steps[i]!.inverse(this));
        }
      },
    );
  }

  /** The value of a stream. */
  read(slot: number): Tensor {
    return this.arithmetic.read(this.streams[slot]!);
  }

  /** Replaces a stream, which the arithmetic has taken. */
  put(slot: number, stream: Tensor): void {
    this.streams[slot] = ownStream(stream);
  }

  /** Takes away what `add` added. */
  remove(slot: number, increment: Tensor, times: number): void {
    this.put(slot, this.arithmetic.remove(this.streams[slot]!, increment, { times }, this.memory(slot)).stream);
  }

  /** What the running step may remember of a stream. */
  memory(slot: number): StepMemory {
    const { streams } = this;
    const [side, at] = [this.#side, this.#numStreams + slot];
    return {
      get buffer() {
        return streams[at]!;
      },
      set buffer(next) {
        const before = streams[at];
        streams[at] = ownStream(next);
        if (before !== next) before?.dispose();
      },
      keeps: side.keeps,
      push: (...tensors) => side.push(...tensors),
      pop: () => side.pop(),
    };
  }
}

/** Runs a pass; when a branch throws, what the pass owns is freed before the error goes on. */
export function owning<T>(owned: () => readonly (Tensor | undefined)[], f: () => T): T {
  try {
    return f();
  } catch (error) {
    for (const t of owned()) t?.dispose();
    throw error;
  }
}
