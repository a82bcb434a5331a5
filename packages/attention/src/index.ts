export {
  type Attended,
  type AttendOptions,
  type ScoreBias,
  sparseAttention,
  type TiledAttentionOptions,
  tiledAttention,
} from "./attend.ts";
export { denseAttention, logVisibility, tokensSeen } from "./dense.ts";
export { Hierarchical, type HierarchicalOptions } from "./hierarchical.ts";
export { HierarchicalCache } from "./hierarchicalCache.ts";
export {
  HierarchicalReversibleAttention,
  type HierarchicalReversibleAttentionOptions,
} from "./hierarchicalReversibleAttention.ts";
export { type Ladder, type LadderOptions, type Level, makeLadder } from "./ladder.ts";
export { LearnedPooling, type LearnedPoolingOptions } from "./learnedPooling.ts";
export { eluFeatures, type FeatureMap, LinearAttention, type LinearAttentionOptions } from "./linear.ts";
export { BlockSparse, Mechanism, MechanismAttention, type MechanismAttentionOptions, Tiled } from "./mechanism.ts";
export {
  everyBlock,
  globalBlocks,
  type MaskOptions,
  maskList,
  namedTiles,
  type Pattern,
  type PatternOptions,
  patternList,
  randomBlocks,
  stridedBlocks,
  together,
  windowBlocks,
} from "./patterns.ts";
export { buildPyramid, type GroupSizes, meanPooling, type Pooling, type Pyramid } from "./pyramid.ts";
export { RandomFeatureAttention, type RandomFeatureKind, type RandomFeatureOptions } from "./randomFeatures.ts";
export { joinAttended, RecallBranch, type RecallOptions } from "./recall.ts";
export { type KeyRun, NO_EDGE, TileList, type TileListOptions } from "./tileList.ts";
