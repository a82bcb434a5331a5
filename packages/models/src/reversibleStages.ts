import { haarDownsample, haarUpsample } from "@revnet-zero/flows";
import { Module } from "@revnet-zero/nn";
import { type AdditiveBranches, type ReversibleMode, ReversibleSequence, storedTwin } from "@revnet-zero/reversible";
import type { Tensor } from "@revnet-zero/tensor";

export interface ReversibleStagesOptions {
  /** The blocks of each stage; a stage has four times the channels and half the sides of the one before. */
  readonly stages: readonly (readonly AdditiveBranches[])[];
  readonly mode: ReversibleMode;
  readonly fractionBits: number;
}

/**
 * Reversible blocks in stages of falling resolution. Between two stages a level of the Haar wavelet takes every cell of 2 x 2
 * pixels to four channels: on fixed-point streams in integers, so that nothing is lost and the whole is a bijection of the
 * streams' bits. Each stage keeps its last pair of streams for backward, the wavelet nothing.
 * Source: Jacobsen et al. 2018 (arXiv:1802.07088), section 3 (i-RevNet's stages). We differ: Haar instead of reordered pixels.
 */
export class ReversibleStages extends Module {
  readonly stages: readonly ReversibleSequence<AdditiveBranches>[];
  readonly fractionBits: number;

  constructor({ stages, mode, fractionBits }: ReversibleStagesOptions) {
    super();
    this.stages = stages.map((blocks) => new ReversibleSequence({ blocks, mode, fractionBits }));
    this.fractionBits = fractionBits;
  }

  get mode(): ReversibleMode {
    return this.stages[0]!.mode;
  }
  set mode(mode: ReversibleMode) {
    for (const stage of this.stages) stage.mode = mode;
  }

  /** Floats in, floats out; or fixed-point streams (i32) in and out. */
  override forward(x1: Tensor, x2: Tensor): Tensor[] {
    const isEntered = x1.dtype === "i32";
    const entered =
      this.#hasGrid && !isEntered ? [x1, x2].map((x) => x.cast("f32").quantise(this.fractionBits)) : [x1, x2];
    const found = this.stages.reduce((streams: readonly Tensor[], stage, i) => {
      const [a, b] = i === 0 ? streams : streams.map(downsample);
      return stage.call(a!, b!);
    }, entered);
    return found.map((y) => (y.dtype === "i32" && !isEntered ? y.dequantise(this.fractionBits) : y));
  }

  /** The input streams of given output streams: bit for bit when both are fixed-point ones. */
  inverse(y1: Tensor, y2: Tensor): Tensor[] {
    const { engine } = y1;
    return engine.scope(() =>
      engine.noGrad(() => {
        let streams = [y1, y2];
        for (let i = this.stages.length - 1; i >= 0; i--) {
          streams = this.stages[i]!.inverse(streams[0]!, streams[1]!);
          if (i > 0) streams = streams.map(upsample);
        }
        return streams;
      }),
    );
  }

  get #hasGrid(): boolean {
    return storedTwin(this.mode) === "store";
  }
}

/** What the integer transform's bands (means, columns, rows, both) are over those of the orthonormal one, that floats get. */
const bandFactors = [0.5, 1, 1, 2];

/** The same transform of floats as of integers, but for the rounding. */
function downsample(x: Tensor): Tensor {
  const bands = haarDownsample(x);
  return x.dtype === "i32" ? bands : scaleBands(bands, (factor) => factor);
}

function upsample(y: Tensor): Tensor {
  return haarUpsample(y.dtype === "i32" ? y : scaleBands(y, (factor) => 1 / factor));
}

function scaleBands(bands: Tensor, of: (factor: number) => number): Tensor {
  const [first, ...rest] = bands.split(4, 1).map((band, i) => band.mul(of(bandFactors[i]!)));
  return first!.concat(rest, 1);
}
