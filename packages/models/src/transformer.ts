import { addNorm, Module } from "@revnet-zero/nn";
import type { Tensor } from "@revnet-zero/tensor";
import { type AttentionBranch, branchesOf, type FeedForwardBranch } from "./branches.ts";
import { LanguageModel, PredictionHead, TokenEmbedding } from "./languageModel.ts";
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

/** Ordinary blocks one after another, each drawing its randomness by its number. */
export function runBlocks(blocks: readonly TransformerBlock[], x: Tensor): Tensor {
  let current = x;
  blocks.forEach((block, layer) => {
    current = x.engine.withFoldedKey(layer, () => block.call(current));
  });
  return current;
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
    this.blocks = branchesOf(options.dModel, options).map(({ F, G }) => new TransformerBlock(F, G));
    this.head = new PredictionHead(options, this.embedding);
  }

  protected override features(tokens: Tensor): Tensor {
    return runBlocks(this.blocks, this.embedding.call(tokens));
  }
}
