import { type Engine, randomKey, type Tensor, ValueError } from "@revnet-zero/tensor";
import { Transformer } from "../transformer.ts";
import { NamedWeights } from "./namedWeights.ts";

export interface Gpt2Options {
  /** Default: width / 64, as in every size of GPT-2. */
  readonly numHeads?: number;
  /** Probability of zeroing an element of a branch's output while training. Default 0. */
  readonly dropout?: number;
  /** Default: that of the weights. */
  readonly engine?: Engine;
}

/**
 * A `Transformer` with the weights of a GPT-2 in Hugging Face's names: `wte.weight`, `wpe.weight`, `h.N.ln_1`, `h.N.attn.c_attn`
 * and `c_proj`, `h.N.ln_2`, `h.N.mlp.c_fc` and `c_proj`, `ln_f`, with or without `transformer.` before them; matrices of layers are
 * `[in, out]`. Sizes are read from the shapes. `lm_head.weight` is `wte.weight` unless it is there and differs. Weights in other
 * float dtypes are converted to f32.
 * Throws ValueError with all names that are missing, misshapen or unexpected.
 * Source: Radford et al. 2019, "Language models are unsupervised multitask learners"; its `gelu` is the tanh form.
 */
export function gpt2FromWeights(tensors: ReadonlyMap<string, Tensor>, options: Gpt2Options = {}): Transformer {
  const weights = new NamedWeights("gpt2FromWeights", tensors, "transformer.");
  const [vocabSize, dModel] = weights.shapeOf("wte.weight", 2) as [number, number];
  const [maxSeqLen] = weights.shapeOf("wpe.weight", 2) as [number, number];
  const [, hidden] = weights.shapeOf("h.0.mlp.c_fc.weight", 2) as [number, number];
  const numLayers = weights.count("h");
  const numHeads = options.numHeads ?? dModel / 64;
  if (!Number.isInteger(numHeads))
    throw new ValueError("gpt2FromWeights", `a width of ${dModel} has no heads of 64`, "pass numHeads");
  const any = tensors.values().next().value!;
  const engine = options.engine ?? any.engine;
  return engine.scope(() =>
    engine.noGrad(() => {
      const embedding = weights.take("wte.weight", [vocabSize, dModel]);
      const head = weights.find("lm_head.weight");
      const isTied = head === undefined || head.cast("f32").equal(embedding).all().itemSync() === 1;
      const state = new Map<string, Tensor>([
        ["embedding.tokens.weight", embedding],
        ["embedding.positions.weight", weights.take("wpe.weight", [maxSeqLen, dModel])],
        ...(isTied ? [] : ([["head.linear.weight", weights.take("lm_head.weight", [vocabSize, dModel])]] as const)),
      ]);
      const vector = (ours: string, theirs: string, size: number): void => {
        state.set(ours, weights.take(theirs, [size]));
      };
      const norm = (ours: string, theirs: string): void => {
        for (const part of ["weight", "bias"]) vector(`${ours}.${part}`, `${theirs}.${part}`, dModel);
      };
      /** Theirs is [in, out]. */
      const layer = (ours: string, theirs: string, inputs: number, outputs: number): void => {
        state.set(`${ours}.weight`, weights.take(`${theirs}.weight`, [inputs, outputs]).transpose().clone());
        vector(`${ours}.bias`, `${theirs}.bias`, outputs);
      };
      for (let n = 0; n < numLayers; n++) {
        const { attention, mlp } = { attention: `blocks.${n}.attention`, mlp: `blocks.${n}.mlp` };
        norm(`${attention}.norm`, `h.${n}.ln_1`);
        layer(`${attention}.attention.qkv`, `h.${n}.attn.c_attn`, dModel, 3 * dModel);
        layer(`${attention}.attention.out`, `h.${n}.attn.c_proj`, dModel, dModel);
        norm(`${mlp}.norm`, `h.${n}.ln_2`);
        layer(`${mlp}.mlp.up`, `h.${n}.mlp.c_fc`, dModel, hidden);
        layer(`${mlp}.mlp.down`, `h.${n}.mlp.c_proj`, hidden, dModel);
      }
      norm("head.norm", "ln_f");
      // Causal masks, which are no parameters.
      weights.finish(/\.attn\.(masked_)?bias$/);
      const model = new Transformer({
        vocabSize,
        numLayers,
        dModel,
        numHeads,
        maxSeqLen,
        mlpRatio: hidden / dModel,
        positions: "learned",
        tieEmbeddings: isTied,
        dropout: options.dropout ?? 0,
        key: randomKey(0),
        engine,
      });
      model.loadStateDict(state);
      return model;
    }),
  );
}
