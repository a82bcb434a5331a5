import type { Module } from "@revnet-zero/nn";
import { defaultEngine, type Engine, ValueError } from "@revnet-zero/tensor";
import { MemoryProfile } from "./memoryProfile.ts";
import { Recorder } from "./recorder.ts";

export interface ProfilerOptions {
  /** Default: the model's engine, or the default engine. */
  readonly engine?: Engine;
  /** Names its parameters in tables, and tells which blocks its plan stores. */
  readonly model?: Module;
  /**
   * Also note file and line where every buffer was made. Default false: the call stack takes some microseconds a buffer, as long as an op of a small model:
   * times are then not to be trusted.
   */
  readonly callSites?: boolean;
}

/**
 * Watches what a step does with memory and time: every buffer with its op, module and purpose, every op with its time. It costs nothing
 * while it does not run, and some microseconds an op and buffer while it does. On a device that computes asynchronously times are
 * those of enqueuing.
 *
 * ```ts
 * import { MemoryProfiler, randomKey, ReversibleTransformer, tensor } from "revnet-zero";
 *
 * const model = new ReversibleTransformer({ numLayers: 4, dModel: 16, numHeads: 2, maxSeqLen: 8, key: randomKey(1) });
 * const batch = () => tensor([[1, 2, 3, 4]], { dtype: "i32" });
 * const profile = new MemoryProfiler({ model }).profile(() => {
 *   model.engine.scope(() => model.loss(batch(), batch()).backward());
 * });
 * profile.byPhase().map(({ name }) => name); // => [ 'forward', 'backward', 'recompute' ]
 * profile.peakBytes === Object.values(profile.atPeak).reduce((a, b) => a + b); // => true
 * ```
 */
export class MemoryProfiler {
  readonly #engine: Engine;
  readonly #options: ProfilerOptions;
  #recorder: Recorder | undefined;

  constructor(options: ProfilerOptions = {}) {
    this.#engine = options.engine ?? options.model?.engine ?? defaultEngine();
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#recorder !== undefined;
  }

  start(): void {
    if (this.#recorder !== undefined)
      throw new ValueError("MemoryProfiler", "it is running already", "call stop() first");
    this.#recorder = new Recorder(this.#engine, this.#options);
  }

  stop(): MemoryProfile {
    const recorder = this.#recorder;
    if (recorder === undefined) throw new ValueError("MemoryProfiler", "it is not running", "call start() first");
    this.#recorder = undefined;
    return new MemoryProfile(recorder.finish(), this.#options.model);
  }

  /** Profiles one call; of an asynchronous function, until its promise is settled. A failing one is not recorded. */
  profile(step: () => Promise<unknown>): Promise<MemoryProfile>;
  profile(step: () => unknown): MemoryProfile;
  profile(step: () => unknown): MemoryProfile | Promise<MemoryProfile> {
    this.start();
    let result: unknown;
    try {
      result = step();
    } catch (error) {
      this.stop();
      throw error;
    }
    if (!(result instanceof Promise)) return this.stop();
    return result.then(
      () => this.stop(),
      (error) => {
        this.stop();
        throw error;
      },
    );
  }

  [Symbol.dispose](): void {
    this.#recorder?.finish();
    this.#recorder = undefined;
  }
}
