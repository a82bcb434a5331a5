import type { ReversibleMode, ReversibleSequence } from "@revnet-zero/reversible";
import { describe, isFloat, ShapeError, type Tensor } from "@revnet-zero/tensor";
import { Bijection, type FlowOutput } from "./flowLayer.ts";

export interface StreamCouplingsOptions {
  /** Blocks of two streams, as `affine({ F, G })`; they see `[batch, channels / 2, ...]`. */
  readonly sequence: ReversibleSequence;
}

/**
 * A reversible sequence of two streams as a flow layer: the first half of the channels is one stream, the second the other. Its mode
 * decides how activations come back: `exact` rebuilds those of affine couplings bit for bit, on fixed-point streams with an information
 * buffer for what scaling takes away; `float` up to a drift; `store` keeps them.
 *
 * The inverse runs in float arithmetic where floats come in, since that of the exact mode needs what its forward pass has remembered;
 * it is not recorded, and its log-determinant comes from a second run forward.
 */
export class StreamCouplings extends Bijection {
  readonly sequence: ReversibleSequence;

  constructor({ sequence }: StreamCouplingsOptions) {
    super();
    this.sequence = sequence;
  }

  override forward(x: Tensor): FlowOutput {
    const { streams, logDeterminant } = this.sequence.transform(...halves(x));
    return { value: joined(streams), logDeterminant };
  }

  protected override invert(y: Tensor): FlowOutput {
    const run = (): FlowOutput => {
      const streams = this.sequence.inverse(...halves(y)) as [Tensor, Tensor];
      const { logDeterminant } = y.engine.noGrad(() => this.sequence.transform(...streams));
      return { value: joined(streams), logDeterminant: logDeterminant.neg() };
    };
    return isFloat(y.dtype) ? this.#inMode("float", run) : run();
  }

  #inMode<T>(mode: ReversibleMode, f: () => T): T {
    const { sequence } = this;
    const before = sequence.mode;
    sequence.mode = mode;
    try {
      return f();
    } finally {
      sequence.mode = before;
    }
  }
}

function halves(x: Tensor): [Tensor, Tensor] {
  if (x.rank >= 2 && x.shape[1]! % 2 === 0) return x.split(2, 1) as [Tensor, Tensor];
  throw new ShapeError(
    "StreamCouplings",
    `cannot take ${describe(x)}`,
    "give [batch, channels, ...] with an even number of channels",
  );
}

const joined = ([a, b]: readonly Tensor[]): Tensor => a!.concat([b!], 1);
