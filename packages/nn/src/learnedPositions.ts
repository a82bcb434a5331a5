import { defaultEngine, describe, ShapeError, type Tensor } from "@revnet-zero/tensor";
import { decodingOf } from "./decoding.ts";
import { normal } from "./initializers.ts";
import { Module } from "./module.ts";
import { checkSizes, type RandomLayerOptions } from "./options.ts";

export interface LearnedPositionsOptions extends RandomLayerOptions {
  /** Longest sequence. */
  readonly length: number;
  readonly dim: number;
}

/**
 * Adds a learned vector for every place: x `[..., time, dim]`, whose first step is at place `start` (default 0).
 * Weight `[length, dim]`, by default normal(0.02). Source: Gehring et al. 2017 (arXiv:1705.03122), section 3.1.
 */
export class LearnedPositions extends Module {
  readonly weight: Tensor;

  constructor(options: LearnedPositionsOptions) {
    super();
    const { length, dim, key, engine = defaultEngine(), dtype = "f32", init = normal() } = options;
    checkSizes("LearnedPositions", { length, dim });
    this.weight = this.parameter(init([length, dim], { key, dtype, engine }));
  }

  override forward(x: Tensor, start = 0): Tensor {
    const time = x.shape[x.rank - 2] ?? 0;
    const length = this.weight.shape[0]!;
    if (x.rank < 2 || start < 0 || start + time > length) {
      throw new ShapeError(
        "LearnedPositions",
        `${describe(x)} from place ${start} does not fit ${length} places`,
        "give x as [..., time, dim], shorten it, or make the layer with a greater length",
      );
    }
    const decoding = decodingOf(x.engine);
    if (decoding === undefined || decoding.isPrompt) return x.add(this.weight.narrow(0, start, time));
    return x.add(this.weight.take(decoding.places, 0).unsqueeze(1));
  }
}
