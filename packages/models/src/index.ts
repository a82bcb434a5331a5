export { AttentionBranch, type BranchOptions, FeedForwardBranch, type NormOptions } from "./branches.ts";
export { ConvBranch, type ConvBranchOptions, type ImageNorm } from "./convBranch.ts";
export { type GenerateOptions, generate } from "./generate.ts";
export { type ClassificationLossOptions, ImageClassifier, type ImageOptions } from "./imageClassifier.ts";
export { LanguageModel, PredictionHead, TokenEmbedding } from "./languageModel.ts";
export type { ResolvedOptions, ReversibleTransformerOptions, TransformerOptions } from "./options.ts";
export { ClassificationHead, PatchEmbedding } from "./patchEmbedding.ts";
export { ReversibleResNet, type ReversibleResNetOptions } from "./reversibleResNet.ts";
export { ReversibleStages, type ReversibleStagesOptions } from "./reversibleStages.ts";
export { ReversibleTransformer } from "./reversibleTransformer.ts";
export { ReversibleVisionTransformer } from "./reversibleVisionTransformer.ts";
export type { StreamKind } from "./streams.ts";
export { Transformer, TransformerBlock } from "./transformer.ts";
export type {
  ResolvedVisionOptions,
  ReversibleVisionTransformerOptions,
  VisionTransformerOptions,
} from "./visionOptions.ts";
export { VisionTransformer } from "./visionTransformer.ts";
