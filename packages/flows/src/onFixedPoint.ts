import { type Tensor, ValueError } from "@revnet-zero/tensor";
import { checkFloats } from "./errors.ts";
import { Bijection, type FlowLayer, type FlowOutput } from "./flowLayer.ts";

export interface OnFixedPointOptions {
  /** Layers that take fixed-point streams, as one: a FlowSequence of additive couplings, permutations, Haar, space to depth. */
  readonly inner: FlowLayer;
  /** Bits after the binary point. Default 20: steps of 9.5e-7, range ±2048. */
  readonly fractionBits?: number;
}

/**
 * Float samples through layers on fixed-point streams: quantised on the way in, dequantised on the way out. Inside, what is rebuilt in
 * backward is what was, so that gradients are those of stored backpropagation bit for bit. Values are taken to the grid (its steps are
 * far below float32's own of a value near 1), gradients pass it straight through. Outside, float32 holds a stream exactly below
 * 2^24 steps only: a sample that comes back through `inverse` is off by its last bits.
 */
export class OnFixedPoint extends Bijection {
  readonly inner: FlowLayer;
  readonly fractionBits: number;

  constructor({ inner, fractionBits = 20 }: OnFixedPointOptions) {
    super();
    if (!Number.isInteger(fractionBits) || fractionBits < 0 || fractionBits > 30)
      throw new ValueError("OnFixedPoint", `fractionBits is ${fractionBits}`, "use an integer from 0 to 30");
    this.inner = inner;
    this.fractionBits = fractionBits;
  }

  override forward(x: Tensor): FlowOutput {
    return this.#through(x, (stream) => this.inner.call(stream));
  }
  protected override invert(y: Tensor): FlowOutput {
    return this.#through(y, (stream) => this.inner.inverse(stream));
  }

  #through(x: Tensor, f: (stream: Tensor) => FlowOutput): FlowOutput {
    checkFloats("OnFixedPoint", x);
    const { value, logDeterminant } = f(x.cast("f32").quantise(this.fractionBits));
    return { value: value.dequantise(this.fractionBits), logDeterminant };
  }
}
