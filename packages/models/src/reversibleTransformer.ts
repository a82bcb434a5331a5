import { type AdditiveBranches, type ReversibleMode, ReversibleSequence } from "@revnet-zero/reversible";
import type { Tensor } from "@revnet-zero/tensor";
import { branchesOf } from "./branches.ts";
import { LanguageModel, PredictionHead, TokenEmbedding } from "./languageModel.ts";
import {
  checkHeads,
  checkMlp,
  type ResolvedOptions,
  type ReversibleTransformerOptions,
  resolveOptions,
} from "./options.ts";
import { joinStreams, openStreams, type StreamKind, streamWidth } from "./streams.ts";

/**
 * A decoder whose residual stream is a pair: y1 = x1 + attention(x2), y2 = x2 + mlp(y1) in every layer. Full-width
 * streams both start as the embedding and are averaged for the head; split ones are the embedding's two halves.
 * Source: Kitaev et al. 2020 (arXiv:2001.04451), section 3. We differ: exact fixed-point streams.
 */
export class ReversibleTransformer extends LanguageModel {
  override readonly options: ResolvedOptions;
  readonly streams: StreamKind;
  override readonly embedding: TokenEmbedding;
  readonly sequence: ReversibleSequence<AdditiveBranches>;
  override readonly head: PredictionHead;

  constructor({ reversibility = "exact", streams = "full", fractionBits, ...rest }: ReversibleTransformerOptions) {
    super();
    const options = resolveOptions("ReversibleTransformer", rest);
    const width = streamWidth("ReversibleTransformer", options.dModel, streams);
    checkHeads("ReversibleTransformer", width, options);
    checkMlp("ReversibleTransformer", width, options);
    this.options = options;
    this.streams = streams;
    this.embedding = new TokenEmbedding(options);
    this.sequence = new ReversibleSequence({
      blocks: branchesOf(width, options),
      mode: reversibility,
      fractionBits,
      channels: width,
    });
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
    const streams = openStreams(this.embedding.call(tokens), this.streams);
    return joinStreams(this.sequence.call(...streams), this.streams);
  }
}
