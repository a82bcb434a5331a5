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
    const { stream, increment } = this.#run(x, this.attention.call(x));
    return stream.add(increment!);
  }

  /** The same, with sums left to whoever reads them: a stream to which an increment is to be added, in and out. */
  continue({ stream, increment }: Pending): Pending {
    return this.within(stream.engine, () => {
      if (increment === undefined) return this.#run(stream, this.attention.call(stream));
      const { sum, normalised } = addNorm(this.attention.norm, stream, increment);
      return this.#run(sum, this.attention.afterNorm(normalised));
    });
  }

  #run(x: Tensor, byAttention: Tensor): Pending {
    const { sum, normalised } = addNorm(this.mlp.norm, x, byAttention);
    return { stream: sum, increment: this.mlp.afterNorm(normalised) };
  }
}

/** A residual stream and what the last branch adds to it: the next norm computes the sum in its own pass. */
export interface Pending {
  readonly stream: Tensor;
  readonly increment?: Tensor;
}

/** Ordinary blocks one after another, each drawing its randomness by its number. */
export function runBlocks(blocks: readonly TransformerBlock[], x: Tensor): Tensor {
  let current: Pending = { stream: x };
  blocks.forEach((block, layer) => {
    const { stream, increment } = current;
    current = x.engine.withFoldedKey(layer, () => block.continue(current));
    // What the graph does not keep is of no more use.
    if (stream !== x) stream.dispose();
    increment?.dispose();
  });
  const { stream, increment } = current;
  return increment === undefined ? stream : stream.add(increment);
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
