import type { BackwardContext, Tensor } from "@revnet-zero/tensor";
import type { PlacedBlock } from "../block.ts";
import type { AroundBlock } from "./forwardPass.ts";
import { owning, StreamPass, type StreamPassOptions } from "./streamPass.ts";

export interface BackwardOptions extends StreamPassOptions {
  readonly backward: BackwardContext;
  /** Gradients of the streams by slot; the pass owns them. */
  readonly cotangents: (Tensor | undefined)[];
  /** Gradient of the log-determinant, [batch]: the same for every step's term. */
  readonly logDeterminant?: Tensor | undefined;
}

/**
 * Walks the steps backwards from their final streams. Each branch is run once, recorded: its value rebuilds the stream it
 * was added to, and the engine pulls the gradient back through the same record.
 */
export class BackwardPass extends StreamPass {
  readonly cotangents: (Tensor | undefined)[];
  readonly logDeterminant: Tensor | undefined;
  readonly #backward: BackwardContext;

  constructor(options: BackwardOptions) {
    super(options);
    this.cotangents = options.cotangents;
    this.logDeterminant = options.logDeterminant;
    this.#backward = options.backward;
  }

  /** Takes blocks back, the last first; `around` as in the forward pass. */
  runBlocks(blocks: readonly PlacedBlock[], around: AroundBlock): void {
    const runSteps = ({ steps, first }: PlacedBlock): void => {
      for (let i = steps.length - 1; i >= 0; i--) {
        this.step = first + i;
        this.engine.scope(() => steps[i]!.backward(this));
      }
    };
    owning(
      () => [...this.streams, ...this.cotangents],
      () => {
        for (const block of [...blocks].reverse()) around(block, () => runSteps(block));
      },
    );
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

  /** Adds to the streams' gradients, the last first: the order of an ordinary backward pass over a step's reads. */
  receive(slots: readonly number[], gradients: readonly (Tensor | undefined)[]): void {
    for (let i = slots.length - 1; i >= 0; i--) {
      const gradient = gradients[i];
      if (gradient === undefined) continue;
      const before = this.cotangents[slots[i]!];
      this.cotangents[slots[i]!] = this.engine.keep(before === undefined ? gradient : before.addDonating(gradient));
      before?.dispose();
    }
  }

  /** The gradient of a stream that a step has replaced. */
  replaceCotangent(slot: number, gradient: Tensor | undefined): void {
    this.cotangents[slot]?.dispose();
    this.cotangents[slot] = gradient === undefined ? undefined : this.engine.keep(gradient);
  }
}
