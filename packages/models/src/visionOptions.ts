import { initializers, type MLPKind } from "@revnet-zero/nn";
import type { ReversibleMode } from "@revnet-zero/reversible";
import { type Engine, type Key, ValueError } from "@revnet-zero/tensor";
import type { BranchOptions } from "./branches.ts";
import { type ImageOptions, sizeOf } from "./imageClassifier.ts";
import { checkChoice, checkKey, checkPositive } from "./options.ts";
import type { StreamKind } from "./streams.ts";

/** The shape of a vision transformer. */
export interface VisionTransformerOptions extends ImageOptions {
  /** Side of a patch in pixels; divides height and width. */
  readonly patchSize: number;
  readonly numLayers: number;
  /** Width of the residual stream. */
  readonly dModel: number;
  readonly numHeads: number;
  /** Width of the MLP's hidden layer over its input's. Default 4. */
  readonly mlpRatio?: number;
  /** Default "gelu". */
  readonly mlp?: MLPKind;
  /** Default "layer". */
  readonly norm?: "layer" | "rms";
  /** Added to the variance in norms. Default: the norm's own. */
  readonly normEps?: number;
  /** What is classified: a learned token that attends to all patches, or the patches' mean. Default "class". */
  readonly pooling?: "class" | "mean";
  /** Probability of zeroing an element of a branch's output while training. Default 0. */
  readonly dropout?: number;
  /** Key of the initial parameters. */
  readonly key: Key;
  readonly engine?: Engine;
}

export interface ReversibleVisionTransformerOptions extends VisionTransformerOptions {
  /** How activations come back in backward. Default `exact`. */
  readonly reversibility?: ReversibleMode;
  /** Two streams of width dModel (`full`), or of half of it (`split`). Default `full`. */
  readonly streams?: StreamKind;
  /** Bits after the point of fixed-point streams, or "auto" to measure. Default 20 for int32 streams, measured for the others. */
  readonly fractionBits?: number | "auto" | undefined;
}

/** Options with their defaults filled in and checked. */
export type ResolvedVisionOptions = BranchOptions &
  Required<Omit<VisionTransformerOptions, "engine" | "normEps" | keyof ImageOptions>> &
  ImageOptions;

export function resolveVisionOptions(model: string, options: VisionTransformerOptions): ResolvedVisionOptions {
  const resolved = {
    mlpRatio: 4,
    mlp: "gelu",
    norm: "layer",
    pooling: "class",
    dropout: 0,
    ...options,
    numKeyValueHeads: options.numHeads,
    positions: "learned",
    isCausal: false,
    init: initializers.xavierUniform(),
  } as const;
  const [height, width] = sizeOf(resolved);
  const { channels, numClasses, patchSize, numLayers, dModel, numHeads } = resolved;
  checkPositive(model, { height, width, channels, numClasses, patchSize, numLayers, dModel, numHeads });
  if (height % patchSize !== 0 || width % patchSize !== 0) {
    throw new ValueError(
      model,
      `images of ${height} x ${width} do not divide into patches of ${patchSize} x ${patchSize}`,
      "choose a patchSize that divides both sides, or pad the images",
    );
  }
  checkChoice(model, "mlp", resolved.mlp, ["gelu", "geluExact", "geglu", "swiglu"]);
  checkChoice(model, "norm", resolved.norm, ["layer", "rms"]);
  checkChoice(model, "pooling", resolved.pooling, ["class", "mean"]);
  checkKey(model, resolved.key);
  return resolved;
}
