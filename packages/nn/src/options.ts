import { type DType, type Engine, type Key, ValueError } from "@revnet-zero/tensor";
import type { Initializer } from "./initializers.ts";

/** What every layer with parameters can be told. */
export interface LayerOptions {
  /** Default: the default engine. */
  readonly engine?: Engine;
  /** Dtype of the parameters, and so of the inputs. Default f32. */
  readonly dtype?: DType;
}

/** A layer whose parameters start at random: the same key gives the same bits. */
export interface RandomLayerOptions extends LayerOptions {
  readonly key: Key;
  /** Distribution of the weights. */
  readonly init?: Initializer;
}

/** Throws unless every named size is a positive integer. */
export function checkSizes(layer: string, sizes: Readonly<Record<string, number>>): void {
  for (const [name, size] of Object.entries(sizes)) {
    if (Number.isInteger(size) && size > 0) continue;
    throw new ValueError(layer, `${name} is ${size}`, `${name} is a positive integer`);
  }
}

/** Throws unless p is in [0, 1). */
export function checkProbability(layer: string, p: number): void {
  if (p >= 0 && p < 1) return;
  throw new ValueError(layer, `the dropout probability is ${p}`, "use a number in [0, 1)");
}
