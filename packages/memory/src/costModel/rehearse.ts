import { MetaBackend, NoValuesError } from "@revnet-zero/backend-meta";
import { type OffloadStore, shapeStore } from "@revnet-zero/reversible";
import { type Backend, BackendError, dtypes, type Engine, type Tensor, zeros } from "@revnet-zero/tensor";
import type { ChainPolicy } from "../planner/problem.ts";
import type { PlannedChain } from "./chains.ts";
import { type RecordOptions, type StepRecord, StepRecorder } from "./stepRecorder.ts";

/** A forward and a backward pass: what a plan is for. It may be run several times, and reads no values. */
export type Pass = () => void;

/** Runs passes on the tensors there are, without computing, under plans that were never run. */
export class Rehearsal {
  readonly #engine: Engine;
  readonly #chains: readonly PlannedChain[];
  readonly #parameters: readonly Tensor[];
  readonly #backend: Backend;

  constructor(engine: Engine, chains: readonly PlannedChain[], parameters: readonly Tensor[]) {
    this.#engine = engine;
    this.#chains = chains;
    this.#parameters = parameters;
    this.#backend = MetaBackend.like(engine.backend) as Backend;
  }

  /**
   * The pass under a plan, with a policy for every block of every chain. Bytes are the ledger's of the pass itself; where work is counted, without
   * those on their way to an offload store.
   */
  run(
    pass: Pass,
    plan: readonly (readonly ChainPolicy[])[],
    { countsWork = false }: Partial<Pick<RecordOptions, "countsWork">> = {},
  ): StepRecord {
    const before = this.#chains.map((c) => c.remember());
    let record: StepRecord | undefined;
    const apart = (): void => {
      this.#chains.forEach((chain, i) => {
        chain.follow(plan[i]!);
      });
      const recorder = new StepRecorder(this.#engine, this.#chains);
      const giveBack = countsWork ? this.#countOffloaded(recorder) : undefined;
      try {
        record = recorder.record(pass, { clock: () => 0, countsWork });
      } finally {
        giveBack?.();
      }
    };
    try {
      this.#engine.rehearse(this.#backend, () => this.#withoutGradients(apart));
    } catch (error) {
      if (!(error instanceof NoValuesError)) throw error;
      throw new BackendError(
        "scheduler",
        "the pass reads a value",
        "leave item() and data() out of the function given to the scheduler, and read what it returns",
        { cause: error },
      );
    } finally {
      for (const giveBack of before) giveBack();
    }
    return record!;
  }

  /** What is offloaded is counted, and gone at once: what is on its way is the planner's to say. */
  #countOffloaded(recorder: StepRecorder): () => void {
    const stores = this.#chains.map((chain) => chain.offload);
    const counting: OffloadStore = {
      put: (t) => {
        recorder.noteOffloaded(t.size * dtypes[t.dtype].bytes);
        return shapeStore.put(t);
      },
    };
    const counted: OffloadStore = { ...counting, forShapes: counting };
    for (const chain of this.#chains) chain.offload = chain.offload && counted;
    return () =>
      this.#chains.forEach((chain, i) => {
        chain.offload = stores[i];
      });
  }

  /** Gradients there are stand-ins' turn: those of before are not touched. What the pass leaves of gradients is freed. */
  #withoutGradients(f: () => void): void {
    const engine = this.#engine;
    const before = this.#parameters.map((p) => p.grad);
    this.#parameters.forEach((p, i) => {
      p.grad = before[i] && this.#standIn(before[i]);
    });
    try {
      engine.scope(f);
    } finally {
      this.#parameters.forEach((p, i) => {
        p.grad?.dispose();
        p.grad = before[i];
      });
    }
  }

  #standIn({ shape, dtype }: Tensor): Tensor {
    const t = this.#engine.keep(zeros(shape, { dtype, engine: this.#engine }));
    t.storage.category = "gradients";
    return t;
  }
}
