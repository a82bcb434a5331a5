import { Module } from "@revnet-zero/nn";
import { BackendError, fromWords, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { CoupledBlock } from "./block.ts";
import { type Branch, runBranch } from "./branch.ts";
import type { ReversibleMode } from "./modes.ts";
import { ReversibleSequence } from "./sequence.ts";
import { chooseSteps, type StepSizeOptions } from "./stepSize.ts";
import { add } from "./steps/add.ts";
import { combine } from "./steps/combine.ts";

export interface ContinuousDepthOptions extends StepSizeOptions {
  /** The vector field of x' = f(x), or f(x, t) where `isTimeDependent`; then what was passed to the block after x. */
  readonly f: Branch;
  /** Whether f is given the time, a number, after x. Default false. */
  readonly isTimeDependent?: boolean;
  /** So many equal steps, without a controller. Default: as many as the tolerance needs. */
  readonly steps?: number;
  /** How activations come back in backward. Default `exact`. */
  readonly mode?: ReversibleMode;
  /** Bits after the binary point of the streams; see `ReversibleSequence`. */
  readonly fractionBits?: number | "auto";
}

/**
 * The solution at time `duration` of x' = f(x) from x, by the reversible Heun method on the integer grid: depth is as many steps as the accuracy
 * needs, activation memory that of two streams whatever their number, and gradients are, bit for bit, those of backpropagation through the
 * stored steps. A controller takes the steps on an unrecorded pass before; what it decides is kept with the graph (`engine.remember`), so
 * that code that runs again takes the same ones. Of the solution gradients are those of the steps taken, not of the choice.
 * Source: Kidger et al. 2021 (arXiv:2105.13493), algorithm 1. We differ: fixed-point streams, and steps that are powers of two.
 *
 * ```ts
 * import { ContinuousDepthBlock, tensor } from "revnet-zero";
 *
 * const decay = new ContinuousDepthBlock({ f: (x) => x.neg(), tolerance: 5e-3 });
 * const y = decay.call(tensor([[1, 2]])).dataSync();
 * Math.abs(y[0]! - Math.exp(-1)) < 1e-2; // => true
 * decay.lastSteps.length; // => 8
 * ```
 */
export class ContinuousDepthBlock extends Module {
  readonly f: Branch;
  readonly isTimeDependent: boolean;
  readonly steps: number | undefined;
  /** Step sizes of the last pass. */
  lastSteps: readonly number[] = [];
  readonly #options: StepSizeOptions;
  readonly #fractionBits: number | "auto" | undefined;
  #mode: ReversibleMode;
  /** A sequence of blocks for each list of steps that was ever taken. */
  readonly #sequences = new Map<string, ReversibleSequence>();

  constructor(options: ContinuousDepthOptions) {
    super();
    const { f, isTimeDependent = false, steps, mode = "exact", fractionBits, ...rest } = options;
    if (steps !== undefined && (!Number.isInteger(steps) || steps < 1))
      throw new ValueError("ContinuousDepthBlock", `steps is ${steps}`, "use a positive number, or leave it out");
    this.f = f;
    this.isTimeDependent = isTimeDependent;
    this.steps = steps;
    this.#options = rest;
    this.#fractionBits = fractionBits;
    this.#mode = mode;
  }

  get mode(): ReversibleMode {
    return this.#mode;
  }
  /** Takes effect at the next forward pass. */
  set mode(mode: ReversibleMode) {
    this.#mode = mode;
    for (const sequence of this.#sequences.values()) sequence.mode = mode;
  }

  override forward(x: Tensor, ...context: unknown[]): Tensor {
    const sizes = this.steps === undefined ? this.#decide(x, context) : this.#equal(this.steps);
    this.lastSteps = sizes;
    const [y, z] = this.#sequenceOf(sizes, x).call(x, x, ...context) as [Tensor, Tensor];
    z.dispose();
    return y;
  }

  #equal(steps: number): number[] {
    return new Array<number>(steps).fill((this.#options.duration ?? 1) / steps);
  }

  /** Step sizes by the controller: taken once, remembered for second runs. */
  #decide(x: Tensor, context: readonly unknown[]): number[] {
    const { engine } = x;
    if (!engine.backend.isSynchronous) {
      throw new BackendError(
        "ContinuousDepthBlock",
        `a step-size controller reads errors at once, which the ${engine.backend.name} backend cannot`,
        "say how many steps: new ContinuousDepthBlock({ f, steps: 16 })",
      );
    }
    const field = (value: Tensor, t: number): Tensor => this.#field(value, t, context);
    return engine.scope(() => {
      const decided = engine.remember(() =>
        engine.noGrad(() => {
          const sizes = engine.scope(() => ({ list: chooseSteps(field, x.detach(), this.#options) })).list;
          return fromWords(Float64Array.from(sizes), [sizes.length], "f64", engine);
        }),
      );
      return [...(decided.dataSync() as Float64Array)];
    });
  }

  #field(x: Tensor, t: number, context: readonly unknown[]): Tensor {
    return this.isTimeDependent ? runBranch(this.f, x, t, ...context) : runBranch(this.f, x, ...context);
  }

  #sequenceOf(sizes: readonly number[], x: Tensor): ReversibleSequence {
    const key = sizes.join();
    let sequence = this.#sequences.get(key);
    if (sequence === undefined) {
      let t = 0;
      const blocks = sizes.map((size) => {
        const block = this.#heun(t, size);
        t += size;
        return block;
      });
      const { engine } = x;
      sequence = new ReversibleSequence({ blocks, mode: this.#mode, fractionBits: this.#fractionBits, engine });
      this.#sequences.set(key, sequence);
    }
    return sequence;
  }

  /** y += h/2 f(z); z := 2y - z; y += h/2 f(z): the second f is the next step's time. */
  #heun(t: number, size: number): CoupledBlock & { readonly f: Branch } {
    const half = (at: number): FieldBranch => new FieldBranch(this.f, size / 2, this.isTimeDependent ? at : undefined);
    return {
      f: this.f,
      coupling: "reversibleHeun",
      streams: 2,
      program: [
        add({ target: 0, sources: [1], branch: half(t), name: "f" }),
        combine({ target: 1, sign: -1, terms: [{ source: 0, times: 2 }] }),
        add({ target: 0, sources: [1], branch: half(t + size), name: "f" }),
      ],
    };
  }

  override dispose(): void {
    for (const sequence of this.#sequences.values()) sequence.dispose();
    this.#sequences.clear();
    super.dispose();
  }
}

/** The field at a time, times half a step. */
class FieldBranch extends Module {
  readonly inner: Branch;
  readonly factor: number;
  readonly time: number | undefined;

  constructor(inner: Branch, factor: number, time: number | undefined) {
    super();
    this.inner = inner;
    this.factor = factor;
    this.time = time;
  }

  override forward(x: Tensor, ...rest: unknown[]): Tensor {
    const value =
      this.time === undefined ? runBranch(this.inner, x, ...rest) : runBranch(this.inner, x, this.time, ...rest);
    return value.mul(this.factor);
  }
}
