import type { Engine, Tensor } from "@revnet-zero/tensor";
import type { StepMemory, StoredArithmetic } from "../arithmetic/arithmetic.ts";
import type { Step } from "../steps/step.ts";
import type { BranchRunner } from "./context.ts";

export interface StoredOptions {
  readonly engine: Engine;
  readonly arithmetic: StoredArithmetic;
  /** The streams by slot, then their information buffers. Left alone. */
  readonly inputs: readonly Tensor[];
  readonly runner: BranchRunner;
  readonly context: readonly unknown[];
  readonly logDeterminant?: Tensor | undefined;
}

/**
 * Ordinary backpropagation of the same function, written with plain recorded ops: every activation is stored, nothing
 * is reconstructed. The oracle of the reconstructing modes; it shares no code with them.
 */
export class StoredPass {
  readonly engine: Engine;
  readonly arithmetic: StoredArithmetic;
  readonly streams: Tensor[];
  readonly context: readonly unknown[];
  readonly #given: ReadonlySet<Tensor>;
  readonly #runner: BranchRunner;
  readonly #numStreams: number;
  #logDeterminant: Tensor | undefined;
  #step = 0;

  constructor({ engine, arithmetic, inputs, runner, context, logDeterminant }: StoredOptions) {
    this.engine = engine;
    this.arithmetic = arithmetic;
    this.streams = [...inputs];
    this.context = context;
    this.#given = new Set([...inputs, ...(logDeterminant === undefined ? [] : [logDeterminant])]);
    this.#runner = runner;
    this.#numStreams = arithmetic.makeBuffer === undefined ? inputs.length : inputs.length / 2;
    this.#logDeterminant = logDeterminant;
  }

  get logDeterminant(): Tensor | undefined {
    return this.#logDeterminant;
  }

  runSteps(steps: readonly Step[], first: number): void {
    steps.forEach((step, i) => {
      this.#step = first + i;
      // A scope a step: what the graph does not save dies at once, so that the comparison of memory is fair.
      this.engine.scope(() => {
        step.record(this);
        return [this.streams, this.#logDeterminant];
      });
    });
  }

  run<T>(f: () => T): T {
    return this.#runner.run(this.#step, f);
  }

  put(slot: number, stream: Tensor): void {
    const before = this.streams[slot]!;
    this.streams[slot] = stream;
    this.#drop(before);
  }

  memory(slot: number): Pick<StepMemory, "buffer"> {
    const at = this.#numStreams + slot;
    const pass = this;
    return {
      get buffer() {
        return pass.streams[at]!;
      },
      set buffer(next) {
        pass.put(at, next);
      },
    };
  }

  addLogDeterminant(term: () => Tensor): void {
    const before = this.#logDeterminant;
    if (before === undefined) return;
    this.#logDeterminant = before.add(term());
    this.#drop(before);
  }

  #drop(t: Tensor): void {
    if (!this.#given.has(t)) t.dispose();
  }
}
