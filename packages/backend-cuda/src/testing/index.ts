// What tests and benchmarks of this backend share; no part of computing on it.

export { type AbiReport, checkAbi } from "../ahead/abiCheck.ts";
export { type AheadReport, compileAhead } from "../ahead/byNvrtc.ts";
export { type ArchiveReport, compileArchive } from "../ahead/compileArchive.ts";
export { buildAddon, buildStandIn } from "../build.ts";
export { keyOf } from "../choice/kernelChoices.ts";
export { shippable } from "../choice/tuningTable.ts";
export {
  type AttentionCase,
  type AttentionProof,
  attentionCases,
  graphCases,
  hopperCases,
  longHopperCases,
  tilesAgainstRows,
} from "./attention.ts";
export { proveCollectives } from "./collectives.ts";
export {
  type ConvolutionCase,
  convolutionApart,
  convolutionBound,
  convolutionCases,
  convolveBothWays,
  longConvolutionCases,
} from "./convolutions.ts";
export { type KernelOfProblem, tryEveryKernel } from "./linearActivationBackward.ts";
export {
  longSparseCases,
  type SparseCase,
  type SparseReport,
  sparseAgainstDense,
  sparseCases,
} from "./sparseAttention.ts";
export { standInCache, standInTargets, useStandIn } from "./standIn.ts";
export { timeBehindQueue } from "./timeBehindQueue.ts";
