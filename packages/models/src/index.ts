export {
  AttentionBranch,
  type AttentionMaker,
  type BranchOptions,
  FeedForwardBranch,
  MemoryBranch,
  type NormOptions,
} from "./branches.ts";
export { ConvBranch, type ConvBranchOptions, type ImageNorm } from "./convBranch.ts";
export { type AlignOptions, alignToOriginal } from "./convert/alignToOriginal.ts";
export {
  type ConversionOptions,
  ConvertedTransformer,
  ConvertedVisionTransformer,
  convertToReversible,
} from "./convert/convertToReversible.ts";
export {
  type ConversionCoupling,
  type ConversionCouplingName,
  type ConversionSettings,
  conversionCouplings,
  type ReversibleStream,
} from "./convert/couplings.ts";
export { type Gpt2Options, gpt2FromWeights } from "./convert/gpt2.ts";
export { type ConversionReport, type LogitModel, measureConversion } from "./convert/measureConversion.ts";
export { type VitOptions, vitFromWeights } from "./convert/vit.ts";
export { type ContinueOptions, Decoder, type DecoderOptions, whyNotDecoded } from "./decoder.ts";
export { type GenerateOptions, generate } from "./generate.ts";
export { type ClassificationLossOptions, ImageClassifier, type ImageOptions } from "./imageClassifier.ts";
export { LanguageModel, PredictionHead, TokenEmbedding } from "./languageModel.ts";
export type { ResolvedOptions, ReversibleTransformerOptions, TransformerOptions } from "./options.ts";
export { ClassificationHead, PatchEmbedding } from "./patchEmbedding.ts";
export {
  type DecoderBlock,
  type EncoderDecoderOptions,
  ReversibleDecoder,
  ReversibleEncoder,
  ReversibleEncoderDecoder,
} from "./reversibleEncoderDecoder.ts";
export { ReversibleResNet, type ReversibleResNetOptions } from "./reversibleResNet.ts";
export { ReversibleStages, type ReversibleStagesOptions } from "./reversibleStages.ts";
export { ReversibleTransformer } from "./reversibleTransformer.ts";
export { ReversibleVisionTransformer } from "./reversibleVisionTransformer.ts";
export type { StreamKind } from "./streams.ts";
export { Transformer, TransformerBlock } from "./transformer.ts";
export { type TranslateOptions, translate } from "./translate.ts";
export type {
  ResolvedVisionOptions,
  ReversibleVisionTransformerOptions,
  VisionTransformerOptions,
} from "./visionOptions.ts";
export { VisionTransformer } from "./visionTransformer.ts";
