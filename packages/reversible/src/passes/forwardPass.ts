import type { Tensor } from "@revnet-zero/tensor";
import type { PlacedBlock } from "../block.ts";
import type { Step } from "../steps/step.ts";
import { owning, StreamPass, type StreamPassOptions } from "./streamPass.ts";

export interface ForwardOptions extends StreamPassOptions {
  /** What the counts of additions are added to, a row a step. */
  readonly counts?: Tensor | undefined;
  /** The log-determinant so far, [batch]; the pass owns it. Left out: none is computed. */
  readonly logDeterminant?: Tensor | undefined;
}

/** Runs a block's steps, and may do something before and after. */
export type AroundBlock = (block: PlacedBlock, runSteps: () => void) => void;

/** The first run of the steps, unrecorded, in place where possible. */
export class ForwardPass extends StreamPass {
  readonly #counts: Tensor | undefined;
  #logDeterminant: Tensor | undefined;
  #next: Step | undefined;
  /** The norm that this step begins with, from the pass of the one before. */
  #given: Tensor | undefined;
  /** The norm that the next step begins with. */
  #normalised: Tensor | undefined;

  constructor(options: ForwardOptions) {
    super(options);
    this.#counts = options.counts;
    this.#logDeterminant = options.logDeterminant;
  }

  get logDeterminant(): Tensor | undefined {
    return this.#logDeterminant;
  }

  /** Runs blocks; `around` runs each one's steps, and may do something before and after. */
  runBlocks(blocks: readonly PlacedBlock[], around: AroundBlock = (_, run) => run()): void {
    const steps = blocks.flatMap((b) => b.steps);
    const start = blocks[0]?.first ?? 0;
    const runSteps = (block: PlacedBlock): void => {
      block.steps.forEach((step, i) => {
        this.step = block.first + i;
        this.#next = steps[this.step - start + 1];
        this.engine.scope(() => step.forward(this));
      });
    };
    owning(
      () => [...this.streams, this.#given, this.#normalised, this.#logDeterminant],
      () => {
        for (const block of blocks) around(block, () => runSteps(block));
      },
    );
  }

  /** The norm of the stream that the step reads, where the step before has computed it. */
  takeNormalised(): Tensor | undefined {
    this.#given = this.#normalised;
    this.#normalised = undefined;
    return this.#given;
  }

  /** Adds an increment to a stream. */
  add(slot: number, increment: Tensor, times: number): void {
    this.#given?.dispose();
    this.#given = undefined;
    const wanted = this.#next?.beginsWith;
    const norm = wanted?.stream === slot ? wanted.norm : undefined;
    const counts = this.#counts && { record: this.#counts, row: this.step };
    const sum = this.arithmetic.add(this.streams[slot]!, increment, { times, norm, counts }, this.memory(slot));
    this.put(slot, sum.stream);
    if (sum.normalised !== undefined) this.#normalised = this.engine.keep(sum.normalised);
  }

  /** Adds a term [batch] to the log-determinant, if one is wanted. */
  addLogDeterminant(term: () => Tensor): void {
    const before = this.#logDeterminant;
    if (before === undefined) return;
    this.#logDeterminant = this.engine.keep(before.addDonating(term()));
    before.dispose();
  }
}
