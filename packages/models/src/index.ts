export { AttentionBranch, FeedForwardBranch } from "./branches.ts";
export { type GenerateOptions, generate } from "./generate.ts";
export { LanguageModel, PredictionHead, TokenEmbedding } from "./languageModel.ts";
export type { ResolvedOptions, ReversibleTransformerOptions, TransformerOptions } from "./options.ts";
export { ReversibleTransformer } from "./reversibleTransformer.ts";
export { Transformer, TransformerBlock } from "./transformer.ts";
