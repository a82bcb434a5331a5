import { type Engine, randomKey, type Tensor, ValueError } from "@revnet-zero/tensor";
import { VisionTransformer } from "../visionTransformer.ts";
import { NamedWeights } from "./namedWeights.ts";

export interface VitOptions {
  /** Default: width / 64, as in every size of ViT. */
  readonly numHeads?: number;
  /** Default: square, as large as the places ask for. */
  readonly imageSize?: number | readonly [height: number, width: number];
  /** For weights without a classifier: how many classes a fresh one tells apart. Default 1000. */
  readonly numClasses?: number;
  /** Probability of zeroing an element of a branch's output while training. Default 0. */
  readonly dropout?: number;
  /** Default: that of the weights. */
  readonly engine?: Engine;
}

/**
 * A `VisionTransformer` with the weights of a ViT in Hugging Face's names: `embeddings.cls_token`, `embeddings.position_embeddings`,
 * `embeddings.patch_embeddings.projection`, `encoder.layer.N.layernorm_before`, `….attention.attention.query`, `key`, `value`,
 * `….attention.output.dense`, `….layernorm_after`, `….intermediate.dense`, `….output.dense`, `layernorm`, with or without `vit.`
 * before them, and `classifier`. Sizes are read from the shapes. Weights in other float dtypes are converted to f32.
 * Throws ValueError with all names that are missing, misshapen or unexpected.
 * Source: Dosovitskiy et al. 2020 (arXiv:2010.11929); norms have 1e-12, and `gelu` is the exact form.
 */
export function vitFromWeights(tensors: ReadonlyMap<string, Tensor>, options: VitOptions = {}): VisionTransformer {
  const weights = new NamedWeights("vitFromWeights", tensors, "vit.");
  const projection = "embeddings.patch_embeddings.projection";
  const [dModel, channels, patchSize] = weights.shapeOf(`${projection}.weight`, 4) as [number, number, number, number];
  const [, places] = weights.shapeOf("embeddings.position_embeddings", 3) as [number, number, number];
  const [hidden] = weights.shapeOf("encoder.layer.0.intermediate.dense.weight", 2) as [number, number];
  const numLayers = weights.count("encoder.layer");
  const numHeads = options.numHeads ?? dModel / 64;
  if (!Number.isInteger(numHeads))
    throw new ValueError("vitFromWeights", `a width of ${dModel} has no heads of 64`, "pass numHeads");
  const imageSize = options.imageSize ?? Math.round(Math.sqrt(places - 1)) * patchSize;
  const any = tensors.values().next().value!;
  const engine = options.engine ?? any.engine;
  const classifier = weights.find("classifier.weight");
  const numClasses = classifier?.shape[0] ?? options.numClasses ?? 1000;
  return engine.scope(() =>
    engine.noGrad(() => {
      const cell = channels * patchSize * patchSize;
      const kernel = weights.take(`${projection}.weight`, [dModel, channels, patchSize, patchSize]);
      const state = new Map<string, Tensor>([
        ["embedding.classToken", weights.take("embeddings.cls_token", [1, 1, dModel])],
        ["embedding.patches.weight", kernel.reshape([dModel, cell])],
        ["embedding.patches.bias", weights.take(`${projection}.bias`, [dModel])],
        [
          "embedding.positions.weight",
          weights.take("embeddings.position_embeddings", [1, places, dModel]).reshape([places, dModel]),
        ],
      ]);
      const norm = (ours: string, theirs: string): void => {
        for (const part of ["weight", "bias"])
          state.set(`${ours}.${part}`, weights.take(`${theirs}.${part}`, [dModel]));
      };
      /** One layer of ours, of the rows of several of theirs. */
      const layer = (ours: string, theirs: readonly string[], inputs: number, outputs: number): void => {
        const join = ([first, ...rest]: readonly Tensor[]): Tensor => first!.concat(rest, 0);
        state.set(`${ours}.weight`, join(theirs.map((name) => weights.take(`${name}.weight`, [outputs, inputs]))));
        state.set(`${ours}.bias`, join(theirs.map((name) => weights.take(`${name}.bias`, [outputs]))));
      };
      for (let n = 0; n < numLayers; n++) {
        const { ours, theirs } = { ours: `blocks.${n}`, theirs: `encoder.layer.${n}` };
        const heads = ["query", "key", "value"].map((name) => `${theirs}.attention.attention.${name}`);
        norm(`${ours}.attention.norm`, `${theirs}.layernorm_before`);
        layer(`${ours}.attention.attention.qkv`, heads, dModel, dModel);
        layer(`${ours}.attention.attention.out`, [`${theirs}.attention.output.dense`], dModel, dModel);
        norm(`${ours}.mlp.norm`, `${theirs}.layernorm_after`);
        layer(`${ours}.mlp.mlp.up`, [`${theirs}.intermediate.dense`], dModel, hidden);
        layer(`${ours}.mlp.mlp.down`, [`${theirs}.output.dense`], hidden, dModel);
      }
      norm("head.norm", "layernorm");
      if (classifier !== undefined) layer("head.linear", ["classifier"], dModel, numClasses);
      // A pooler of other tasks.
      weights.finish(/^(vit\.)?pooler\./);
      const model = new VisionTransformer({
        imageSize,
        channels,
        numClasses,
        patchSize,
        numLayers,
        dModel,
        numHeads,
        mlpRatio: hidden / dModel,
        mlp: "geluExact",
        normEps: 1e-12,
        dropout: options.dropout ?? 0,
        key: randomKey(0),
        engine,
      });
      model.loadStateDict(state, { strict: classifier !== undefined });
      return model;
    }),
  );
}
