import type { ReversibleMode } from "@revnet-zero/reversible";
import { type Tensor, ValueError } from "@revnet-zero/tensor";
import { ImageClassifier } from "../imageClassifier.ts";
import { LanguageModel, type PredictionHead, type TokenEmbedding } from "../languageModel.ts";
import { checkChoice, type ResolvedOptions } from "../options.ts";
import type { ClassificationHead, PatchEmbedding } from "../patchEmbedding.ts";
import { Transformer, type TransformerBlock } from "../transformer.ts";
import type { ResolvedVisionOptions } from "../visionOptions.ts";
import { VisionTransformer } from "../visionTransformer.ts";
import { type ConversionCouplingName, conversionCouplings, type ReversibleStream } from "./couplings.ts";

export interface ConversionOptions {
  /** How the residual branches are made reversible. */
  readonly coupling: ConversionCouplingName;
  /** How activations come back in backward. Default `exact`. */
  readonly reversibility?: ReversibleMode;
  /** Bits after the point of the fixed-point streams. Default 20. */
  readonly fractionBits?: number;
  /** Of `momentum`, between 0 and 1. Default 0.1. */
  readonly gamma?: number;
}

/** A model's residual branches, two a layer, in a coupling. */
function convertBlocks(blocks: readonly TransformerBlock[], options: ConversionOptions): ReversibleStream {
  const { coupling, reversibility = "exact", fractionBits = 20, gamma = 0.1 } = options;
  checkChoice("convertToReversible", "coupling", coupling, Object.keys(conversionCouplings));
  const branches = blocks.flatMap(({ attention, mlp }) => [attention, mlp]);
  return conversionCouplings[coupling](branches, { mode: reversibility, fractionBits, gamma });
}

/** A decoder language model whose layers were made reversible. */
export class ConvertedTransformer extends LanguageModel {
  override readonly options: ResolvedOptions;
  override readonly embedding: TokenEmbedding;
  readonly stack: ReversibleStream;
  override readonly head: PredictionHead;

  constructor({ options, embedding, blocks, head }: Transformer, conversion: ConversionOptions) {
    super();
    this.options = options;
    this.embedding = embedding;
    this.stack = convertBlocks(blocks, conversion);
    this.head = head;
  }

  /** How activations come back in backward; may be changed between steps. */
  get reversibility(): ReversibleMode {
    return this.stack.sequence.mode;
  }
  set reversibility(mode: ReversibleMode) {
    this.stack.sequence.mode = mode;
  }

  protected override features(tokens: Tensor): Tensor {
    return this.stack.call(this.embedding.call(tokens));
  }
}

/** A vision transformer whose layers were made reversible. */
export class ConvertedVisionTransformer extends ImageClassifier {
  override readonly options: ResolvedVisionOptions;
  readonly embedding: PatchEmbedding;
  readonly stack: ReversibleStream;
  readonly head: ClassificationHead;

  constructor({ options, embedding, blocks, head }: VisionTransformer, conversion: ConversionOptions) {
    super();
    this.options = options;
    this.embedding = embedding;
    this.stack = convertBlocks(blocks, conversion);
    this.head = head;
  }

  /** How activations come back in backward; may be changed between steps. */
  get reversibility(): ReversibleMode {
    return this.stack.sequence.mode;
  }
  set reversibility(mode: ReversibleMode) {
    this.stack.sequence.mode = mode;
  }

  override forward(images: Tensor): Tensor {
    return this.head.call(this.stack.call(this.embedding.call(images)));
  }
}

/**
 * A reversible model with copies of an ordinary one's parameters: its pre-norm residual branches in a coupling, embedding and head as
 * they are. The original is left alone. What the couplings do to the function is said beside `conversionCouplings`, and measured
 * by `measureConversion`; `alignToOriginal` trains the converted model until it computes what the original does.
 *
 * ```ts
 * import { convertToReversible, measureConversion, randomKey, tensor, Transformer } from "revnet-zero";
 *
 * const model = new Transformer({ numLayers: 2, dModel: 16, numHeads: 2, maxSeqLen: 8, key: randomKey(1) });
 * const converted = convertToReversible(model, { coupling: "bdia" });
 * const { relativeChange } = await measureConversion(model, converted, tensor([[1, 2, 3]], { dtype: "i32" }));
 * relativeChange < 1e-3; // => true
 * ```
 */
export function convertToReversible(model: Transformer, options: ConversionOptions): ConvertedTransformer;
export function convertToReversible(model: VisionTransformer, options: ConversionOptions): ConvertedVisionTransformer;
export function convertToReversible(
  model: Transformer | VisionTransformer,
  options: ConversionOptions,
): ConvertedTransformer | ConvertedVisionTransformer {
  const { engine } = model;
  if (model instanceof Transformer) {
    const copy = new Transformer({ ...model.options, engine });
    copy.loadStateDict(model.stateDict());
    return new ConvertedTransformer(copy, options);
  }
  if (model instanceof VisionTransformer) {
    const copy = new VisionTransformer({ ...model.options, engine });
    copy.loadStateDict(model.stateDict());
    return new ConvertedVisionTransformer(copy, options);
  }
  throw new ValueError(
    "convertToReversible",
    `cannot convert a ${(model as object)?.constructor?.name}`,
    "give a Transformer or a VisionTransformer; gpt2FromWeights and vitFromWeights make them from files",
  );
}
