import { initializers, LearnedPositions, Linear, Module, type Norm } from "@revnet-zero/nn";
import { defaultEngine, foldKey, type Tensor } from "@revnet-zero/tensor";
import { normOf } from "./branches.ts";
import { checkImages, sizeOf } from "./imageClassifier.ts";
import type { ResolvedVisionOptions } from "./visionOptions.ts";

/** Places in the key derivation of a model's parameters; the blocks' is in branches.ts. */
const PATCHES = 0;
const POSITIONS = 1;
const HEAD = 2;
const CLASS = 4;

/**
 * Images to vectors: `[batch, channels, height, width]` -> `[batch, places, dModel]`, a place for each patch in rows from the
 * upper left, after the class token's if there is one. The projection is a convolution that steps by its own size, so a
 * patch is (channel, row, column) in that order.
 * Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), eq. 1.
 */
export class PatchEmbedding extends Module {
  readonly patches: Linear;
  readonly classToken: Tensor | undefined;
  readonly positions: LearnedPositions;
  readonly #options: ResolvedVisionOptions;

  constructor(options: ResolvedVisionOptions) {
    super();
    const { channels, patchSize, dModel, pooling, key, engine = defaultEngine() } = options;
    const [height, width] = sizeOf(options);
    this.#options = options;
    this.patches = new Linear({
      in: channels * patchSize * patchSize,
      out: dModel,
      init: initializers.xavierUniform(),
      key: foldKey(key, PATCHES),
      engine,
    });
    const token = { key: foldKey(key, CLASS), dtype: "f32", engine } as const;
    this.classToken = pooling === "class" ? this.parameter(initializers.normal()([1, 1, dModel], token)) : undefined;
    const count = (height / patchSize) * (width / patchSize) + (pooling === "class" ? 1 : 0);
    // As large as the projections of standardised images: with GPT-2's 0.02 patches hardly know their places for many steps.
    const init = initializers.normal(0.5);
    this.positions = new LearnedPositions({ length: count, dim: dModel, init, key: foldKey(key, POSITIONS), engine });
  }

  override forward(images: Tensor): Tensor {
    checkImages("model", images, this.#options);
    const [batch, channels, height, width] = images.shape as readonly number[] as [number, number, number, number];
    const { patchSize: p, dModel } = this.#options;
    const cells = images
      .reshape([batch, channels, height / p, p, width / p, p])
      .permute([0, 2, 4, 1, 3, 5])
      .reshape([batch, (height / p) * (width / p), channels * p * p]);
    const patches = this.patches.call(cells);
    const { classToken } = this;
    const all = classToken === undefined ? patches : classToken.expand([batch, 1, dModel]).concat([patches], 1);
    return this.positions.call(all);
  }
}

/** Vectors to logits: the norm of the class token, or the mean of all norms, `[batch, places, dModel]` -> `[batch, classes]`. */
export class ClassificationHead extends Module {
  readonly norm: Norm;
  readonly linear: Linear;
  readonly #pooling: "class" | "mean";

  constructor(options: ResolvedVisionOptions) {
    super();
    const { dModel, numClasses, pooling, key, engine = defaultEngine() } = options;
    this.norm = normOf(dModel, options);
    // Zero, as in the paper: every image begins with even odds.
    const init = initializers.constant(0);
    this.linear = new Linear({ in: dModel, out: numClasses, init, key: foldKey(key, HEAD), engine });
    this.#pooling = pooling;
  }

  override forward(x: Tensor): Tensor {
    const pooled = this.#pooling === "class" ? this.norm.call(x.narrow(1, 0, 1)).squeeze(1) : this.norm.call(x).mean(1);
    return this.linear.call(pooled);
  }
}
