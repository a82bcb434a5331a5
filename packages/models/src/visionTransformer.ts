import type { Tensor } from "@revnet-zero/tensor";
import { branchesOf } from "./branches.ts";
import { ImageClassifier } from "./imageClassifier.ts";
import { checkHeads, checkMlp } from "./options.ts";
import { ClassificationHead, PatchEmbedding } from "./patchEmbedding.ts";
import { runBlocks, TransformerBlock } from "./transformer.ts";
import { type ResolvedVisionOptions, resolveVisionOptions, type VisionTransformerOptions } from "./visionOptions.ts";

/**
 * The ordinary pre-norm vision transformer: a sequence of patches through an encoder that sees all of them. Weights start
 * Xavier-uniform, the classifier at zero, as in the paper's code.
 * Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), section 3.1.
 */
export class VisionTransformer extends ImageClassifier {
  override readonly options: ResolvedVisionOptions;
  readonly embedding: PatchEmbedding;
  readonly blocks: readonly TransformerBlock[];
  readonly head: ClassificationHead;

  constructor(given: VisionTransformerOptions) {
    super();
    const options = resolveVisionOptions("VisionTransformer", given);
    checkHeads("VisionTransformer", options.dModel, options);
    checkMlp("VisionTransformer", options.dModel, options);
    this.options = options;
    this.embedding = new PatchEmbedding(options);
    this.blocks = branchesOf(options.dModel, options).map(({ F, G }) => new TransformerBlock(F, G));
    this.head = new ClassificationHead(options);
  }

  override forward(images: Tensor): Tensor {
    return this.head.call(runBlocks(this.blocks, this.embedding.call(images)));
  }
}
