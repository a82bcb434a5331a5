import type { PreNormBranch } from "@revnet-zero/nn";
import { type BackwardContext, type DType, ops, type Tensor } from "@revnet-zero/tensor";
import type { PlacedBlock } from "../block.ts";
import type { Step } from "../steps/step.ts";
import type { AroundBlock } from "./forwardPass.ts";
import { owning, StreamPass, type StreamPassOptions } from "./streamPass.ts";

export interface BackwardOptions extends StreamPassOptions {
  readonly backward: BackwardContext;
  /** Gradients of the streams by slot; the pass owns them. */
  readonly cotangents: (Tensor | undefined)[];
  /** Gradient of the log-determinant, [batch]: the same for every step's term. */
  readonly logDeterminant?: Tensor | undefined;
}

/** What a branch that began with a norm leaves: itself, what it read (a stream where norms read those), its statistics, its result's gradient. */
export interface NormPull {
  readonly branch: PreNormBranch;
  readonly value: Tensor;
  readonly statistics: readonly Tensor[];
  readonly gradient: Tensor;
}

/**
 * Walks the steps backwards from their final streams. Each branch is run once, recorded: its value rebuilds the stream it
 * was added to, and the engine pulls the gradient back through the same record.
 */
export class BackwardPass extends StreamPass {
  readonly cotangents: (Tensor | undefined)[];
  readonly logDeterminant: Tensor | undefined;
  readonly #backward: BackwardContext;
  /** Gradients of streams as `receiveFromNorm` rounded them. */
  readonly #rounded: (Tensor | undefined)[] = [];
  /** The step that is taken back next. */
  #next: Step | undefined;
  /** The norm that it begins with, and its statistics, from the pass that rebuilt the stream it reads. */
  #normalised: readonly Tensor[] | undefined;

  constructor(options: BackwardOptions) {
    super(options);
    this.cotangents = options.cotangents;
    this.logDeterminant = options.logDeterminant;
    this.#backward = options.backward;
  }

  /** Takes blocks back, the last first; `around` as in the forward pass. */
  runBlocks(blocks: readonly PlacedBlock[], around: AroundBlock): void {
    const steps = blocks.flatMap((b) => b.steps);
    const start = blocks[0]?.first ?? 0;
    const runSteps = (block: PlacedBlock): void => {
      for (let i = block.steps.length - 1; i >= 0; i--) {
        this.step = block.first + i;
        this.#next = steps[this.step - start - 1];
        this.engine.scope(() => block.steps[i]!.backward(this));
      }
    };
    owning(
      () => [...this.streams, ...this.cotangents, ...this.#rounded, ...(this.#normalised ?? [])],
      () => {
        for (const block of [...blocks].reverse()) around(block, () => runSteps(block));
      },
    );
    this.#rounded.forEach((_, slot) => {
      this.#forgetRounded(slot);
    });
  }

  #forgetRounded(slot: number): void {
    this.#rounded[slot]?.dispose();
    this.#rounded[slot] = undefined;
  }

  /**
   * Takes away what `add` added, once nothing else of the step needs room: in the same pass over the stream the norm that the next step
   * begins with, where it reads this stream.
   */
  rebuild(slot: number, increment: Tensor, times: number): void {
    const wanted = this.#next?.beginsWith;
    const norm = wanted?.stream === slot ? wanted.norm : undefined;
    const {
      stream,
      normalised,
      statistics = [],
    } = this.engine.noGrad(() =>
      this.arithmetic.remove(this.streams[slot]!, increment, { times, norm }, this.memory(slot)),
    );
    this.put(slot, stream);
    if (normalised !== undefined) this.#normalised = [normalised, ...statistics].map((t) => this.engine.keep(t));
  }

  /** The norm of the stream that the step reads and its statistics, where the step before has computed them; the caller's scope owns them. */
  takeNormalised(): readonly Tensor[] | undefined {
    const given = this.#normalised?.map((t) => this.engine.adopt(t));
    this.#normalised = undefined;
    return given;
  }

  /** Runs branches recorded, as the forward pass ran them. */
  recompute<T>(f: () => T): T {
    return this.#backward.recompute(() => this.run(f));
  }

  /** Records ops on what `recompute` returned. */
  record<T>(f: () => T): T {
    return this.engine.withGradients(true, f);
  }

  /** Pulls gradients back through a record: those of `leaves`; everything else it used receives its own. */
  pull(
    outputs: readonly Tensor[],
    cotangents: readonly (Tensor | undefined)[],
    leaves: readonly Tensor[],
  ): (Tensor | undefined)[] {
    return this.#backward.backward(outputs, cotangents, leaves);
  }

  /** The gradient of a stream in the type of what was added to it. */
  cotangentAs(slot: number, dtype: DType): Tensor | undefined {
    const rounded = this.#rounded[slot];
    return rounded?.dtype === dtype ? rounded : this.cotangents[slot]?.cast(dtype);
  }

  /**
   * Adds the gradient that came through a norm to that of the stream it read, and gives the norm's parameters theirs. `increment`: the type
   * in which the stream's gradient will be wanted next.
   */
  receiveFromNorm(slot: number, { branch, value, statistics, gradient }: NormPull, increment: DType): void {
    const before = this.cotangents[slot];
    const { operands, eps } = branch.norm;
    const inputs = [value, operands[0]!, ...statistics, gradient, ...(before === undefined ? [] : [before])];
    const { fractionBits } = this.arithmetic;
    const attrs = {
      eps,
      hasMean: operands.length === 2,
      ...(fractionBits === undefined ? {} : { fractionBits }),
    };
    const isRounded = increment !== operands[0]!.dtype;
    const [sum, ...rest] = branch.atNorm(this.engine, () =>
      value.applyAll(ops.addNormBackward, inputs, isRounded ? { ...attrs, to: increment } : attrs),
    );
    this.replaceCotangent(slot, sum);
    if (isRounded) this.#rounded[slot] = this.engine.keep(rest.shift()!);
    this.pull(operands, rest, []);
  }

  /** Adds to the streams' gradients, the last first: the order of an ordinary backward pass over a step's reads. */
  receive(slots: readonly number[], gradients: readonly (Tensor | undefined)[]): void {
    for (let i = slots.length - 1; i >= 0; i--) {
      const gradient = gradients[i];
      if (gradient === undefined) continue;
      const before = this.cotangents[slots[i]!];
      this.#forgetRounded(slots[i]!);
      this.cotangents[slots[i]!] = this.engine.keep(before === undefined ? gradient : before.addDonating(gradient));
      before?.dispose();
    }
  }

  /** The gradient of a stream that a step has replaced. */
  replaceCotangent(slot: number, gradient: Tensor | undefined): void {
    this.#forgetRounded(slot);
    this.cotangents[slot]?.dispose();
    this.cotangents[slot] = gradient === undefined ? undefined : this.engine.keep(gradient);
  }
}
