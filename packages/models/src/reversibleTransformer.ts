import { type AdditiveBranches, type ReversibleMode, ReversibleSequence } from "@revnet-zero/reversible";
import { foldKey, type Tensor, ValueError } from "@revnet-zero/tensor";
import { AttentionBranch, FeedForwardBranch } from "./branches.ts";
import { BLOCKS, LanguageModel, PredictionHead, TokenEmbedding } from "./languageModel.ts";
import {
  checkChoice,
  checkHeads,
  checkMlp,
  type ResolvedOptions,
  type ReversibleTransformerOptions,
  resolveOptions,
} from "./options.ts";

/**
 * A decoder whose residual stream is a pair: y1 = x1 + attention(x2), y2 = x2 + mlp(y1) in every layer. Full-width
 * streams both start as the embedding and are averaged for the head; split ones are the embedding's two halves.
 * Source: Kitaev et al. 2020 (arXiv:2001.04451), section 3. We differ: exact fixed-point streams.
 */
export class ReversibleTransformer extends LanguageModel {
  override readonly options: ResolvedOptions;
  readonly streams: "full" | "split";
  override readonly embedding: TokenEmbedding;
  readonly sequence: ReversibleSequence<AdditiveBranches>;
  override readonly head: PredictionHead;

  constructor({ reversibility = "exact", streams = "full", fractionBits, ...rest }: ReversibleTransformerOptions) {
    super();
    const options = resolveOptions("ReversibleTransformer", rest);
    checkChoice("ReversibleTransformer", "streams", streams, ["full", "split"]);
    const width = streams === "split" ? options.dModel / 2 : options.dModel;
    if (!Number.isInteger(width))
      throw new ValueError(
        "ReversibleTransformer",
        `dModel ${options.dModel} does not split in two`,
        "use an even dModel",
      );
    checkHeads("ReversibleTransformer", width, options);
    checkMlp("ReversibleTransformer", width, options);
    this.options = options;
    this.streams = streams;
    this.embedding = new TokenEmbedding(options);
    const blocks = Array.from({ length: options.numLayers }, (_, layer) => {
      const key = foldKey(foldKey(options.key, BLOCKS), layer);
      return { F: new AttentionBranch(width, options, key), G: new FeedForwardBranch(width, options, key) };
    });
    this.sequence = new ReversibleSequence({ blocks, mode: reversibility, fractionBits, channels: width });
    this.head = new PredictionHead(options, this.embedding);
  }

  /** How activations come back in backward; may be changed between steps. */
  get reversibility(): ReversibleMode {
    return this.sequence.mode;
  }
  set reversibility(mode: ReversibleMode) {
    this.sequence.mode = mode;
  }

  protected override features(tokens: Tensor): Tensor {
    const x = this.embedding.call(tokens);
    const [x1, x2] = this.streams === "full" ? [x, x] : x.split(2);
    const [y1, y2] = this.sequence.call(x1!, x2!);
    return this.streams === "full" ? y1!.add(y2!).mul(0.5) : y1!.concat([y2!], -1);
  }
}
