import { addNorm, Module } from "@revnet-zero/nn";
import { foldKey, type Tensor } from "@revnet-zero/tensor";
import { AttentionBranch, FeedForwardBranch } from "./branches.ts";
import { BLOCKS, LanguageModel, PredictionHead, TokenEmbedding } from "./languageModel.ts";
import { checkHeads, checkMlp, type ResolvedOptions, resolveOptions, type TransformerOptions } from "./options.ts";

/** One layer of the ordinary transformer: x + attention(x), then x + mlp(x). */
export class TransformerBlock extends Module {
  readonly attention: AttentionBranch;
  readonly mlp: FeedForwardBranch;

  constructor(attention: AttentionBranch, mlp: FeedForwardBranch) {
    super();
    this.attention = attention;
    this.mlp = mlp;
  }

  override forward(x: Tensor): Tensor {
    const { sum, normalised } = addNorm(this.mlp.norm, x, this.attention.call(x));
    return sum.add(this.mlp.afterNorm(normalised));
  }
}

/** The ordinary pre-norm decoder with one float residual stream: what the reversible model is compared with. */
export class Transformer extends LanguageModel {
  override readonly options: ResolvedOptions;
  override readonly embedding: TokenEmbedding;
  readonly blocks: readonly TransformerBlock[];
  override readonly head: PredictionHead;

  constructor(given: TransformerOptions) {
    super();
    const options = resolveOptions("Transformer", given);
    checkHeads("Transformer", options.dModel, options);
    checkMlp("Transformer", options.dModel, options);
    this.options = options;
    this.embedding = new TokenEmbedding(options);
    this.blocks = Array.from({ length: options.numLayers }, (_, layer) => {
      const key = foldKey(foldKey(options.key, BLOCKS), layer);
      return new TransformerBlock(
        new AttentionBranch(options.dModel, options, key),
        new FeedForwardBranch(options.dModel, options, key),
      );
    });
    this.head = new PredictionHead(options, this.embedding);
  }

  protected override features(tokens: Tensor): Tensor {
    const { engine } = tokens;
    let x = this.embedding.call(tokens);
    this.blocks.forEach((block, layer) => {
      x = engine.withFoldedKey(layer, () => block.call(x));
    });
    return x;
  }
}
