import { type AdditiveBranches, type ReversibleMode, ReversibleSequence } from "@revnet-zero/reversible";
import type { Tensor } from "@revnet-zero/tensor";
import { branchesOf } from "./branches.ts";
import { ImageClassifier } from "./imageClassifier.ts";
import { checkHeads, checkMlp } from "./options.ts";
import { ClassificationHead, PatchEmbedding } from "./patchEmbedding.ts";
import { joinStreams, openStreams, type StreamKind, streamWidth } from "./streams.ts";
import {
  type ResolvedVisionOptions,
  type ReversibleVisionTransformerOptions,
  resolveVisionOptions,
} from "./visionOptions.ts";

/**
 * A vision transformer whose residual stream is a pair: y1 = x1 + attention(x2), y2 = x2 + mlp(y1) in every layer.
 * Full-width streams both start as the embedding and are averaged for the head; split ones are the embedding's two halves.
 * Source: Mangalam et al. 2022 (arXiv:2302.04869), section 3.3 (Rev-ViT). We differ: exact fixed-point streams, and an average
 * where the paper joins the two streams.
 *
 * ```ts
 * import { randomKey, ReversibleVisionTransformer, zeros } from "revnet-zero";
 *
 * const image = { imageSize: 28, channels: 1, numClasses: 10, patchSize: 7 };
 * const model = new ReversibleVisionTransformer({ ...image, numLayers: 4, dModel: 32, numHeads: 4, key: randomKey(1) });
 * model.call(zeros([2, 1, 28, 28])).shape; // => [ 2, 10 ]
 * ```
 */
export class ReversibleVisionTransformer extends ImageClassifier {
  override readonly options: ResolvedVisionOptions;
  readonly streams: StreamKind;
  readonly embedding: PatchEmbedding;
  readonly sequence: ReversibleSequence<AdditiveBranches>;
  readonly head: ClassificationHead;

  constructor(given: ReversibleVisionTransformerOptions) {
    super();
    const { reversibility = "exact", streams = "full", fractionBits, ...rest } = given;
    const options = resolveVisionOptions("ReversibleVisionTransformer", rest);
    const width = streamWidth("ReversibleVisionTransformer", options.dModel, streams);
    checkHeads("ReversibleVisionTransformer", width, options);
    checkMlp("ReversibleVisionTransformer", width, options);
    this.options = options;
    this.streams = streams;
    this.embedding = new PatchEmbedding(options);
    this.sequence = new ReversibleSequence({
      blocks: branchesOf(width, options),
      mode: reversibility,
      fractionBits,
      channels: width,
    });
    this.head = new ClassificationHead(options);
  }

  /** How activations come back in backward; may be changed between steps. */
  get reversibility(): ReversibleMode {
    return this.sequence.mode;
  }
  set reversibility(mode: ReversibleMode) {
    this.sequence.mode = mode;
  }

  override forward(images: Tensor): Tensor {
    const streams = openStreams(this.embedding.call(images), this.streams);
    return this.head.call(joinStreams(this.sequence.call(...streams), this.streams));
  }
}
