export { fixedPointArithmetic, floatArithmetic, type StreamArithmetic } from "./arithmetic.ts";
export { type Branch, type HalfStep, halfStepsOf, type ReversibleBlock, runBranch } from "./block.ts";
export {
  BitComparison,
  type CheckOptions,
  checkReversible,
  compareGradients,
  type ReversibilityReport,
  takeGradients,
} from "./check.ts";
export { type BranchRunner, PassContext } from "./context.ts";
export { relativeDrift, sampleStreams } from "./drift.ts";
export type { StepHealth, StreamHealth } from "./health.ts";
export {
  type ReversibleMode,
  ReversibleSequence,
  type ReversibleSequenceOptions,
  reversibleModes,
  type Streams,
  storedTwin,
} from "./sequence.ts";
