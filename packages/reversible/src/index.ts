export type {
  AddOptions as StreamAddOptions,
  StepMemory,
  StoredArithmetic,
  StreamArithmetic,
  StreamSum,
  Term,
} from "./arithmetic/arithmetic.ts";
export { fixedPointArithmetic, storedFixedPoint } from "./arithmetic/fixedPoint.ts";
export { floatArithmetic, storedFloat } from "./arithmetic/float.ts";
export { gridArithmetic, storedGrid } from "./arithmetic/grid.ts";
export { losslessArithmetic } from "./arithmetic/lossless.ts";
export { narrowArithmetic, storedNarrow } from "./arithmetic/narrow.ts";
export {
  type PartialOptimizer,
  type UpdateInBackwardOptions,
  updateInBackward,
} from "./backwardUpdate.ts";
export { BdiaSequence, type BdiaSequenceOptions } from "./bdia.ts";
export {
  type AdditiveBranches,
  type CoupledBlock,
  couplingOf,
  type Permutation,
  type ReversibleBlock,
} from "./block.ts";
export { type CheckLevel, ReconstructionError } from "./blockChecks.ts";
export { BlockSequence, type BlockSequenceOptions, type OrdinaryBlock } from "./blockSequence.ts";
export { type Branch, runBranch } from "./branch.ts";
export {
  BitComparison,
  type CheckOptions,
  checkReversible,
  compareGradients,
  type InputKind,
  type PropertyLibrary,
  type ReversibilityReport,
  ReversibilitySurvey,
  reversibleProperty,
  type SurveyedCase,
  type SurveyOptions,
  takeGradients,
} from "./check/index.ts";
export { ContinuousDepthBlock, type ContinuousDepthOptions } from "./continuousDepth.ts";
export { additive } from "./couplings/additive.ts";
export { type AffineOptions, affine } from "./couplings/affine.ts";
export { GatedMixture, gated, type MixtureOptions } from "./couplings/gated.ts";
export { type HamiltonianOptions, hamiltonian } from "./couplings/hamiltonian.ts";
export { leapfrog } from "./couplings/leapfrog.ts";
export { midpoint, type OneBranchOptions } from "./couplings/midpoint.ts";
export { type MomentumOptions, momentum } from "./couplings/momentum.ts";
export { type MultiStreamOptions, multiStream } from "./couplings/multiStream.ts";
export { reversibleHeun } from "./couplings/reversibleHeun.ts";
export { type UserDefinedOptions, userDefined } from "./couplings/userDefined.ts";
export { relativeDrift, sampleStreams } from "./drift.ts";
export type { StepHealth, StreamHealth } from "./health.ts";
export { HostOffload, type HostOffloadOptions } from "./hostOffload.ts";
export { policiesOf, type ReversibleMode, reversibleModes, storedTwin } from "./modes.ts";
export type { NestedPlan } from "./nestedPlan.ts";
export type { BlockObserver } from "./observer.ts";
export {
  type ByteStore,
  HostStore,
  type Offloaded,
  type OffloadLink,
  type OffloadStore,
  offloadTo,
  shapeStore,
} from "./offload.ts";
export { type BranchRunner, PassContext } from "./passes/context.ts";
export {
  type BlockPolicy,
  blockPolicies,
  losslessPolicies,
  lossyPolicies,
  type MemoryPlan,
  offloadingPolicies,
} from "./plan.ts";
export { ReversibleSequence } from "./sequence.ts";
export type { Invertible, ReversibleSequenceOptions, Streams, Transformed } from "./sequenceTypes.ts";
export type { StepSizeOptions } from "./stepSize.ts";
export * as steps from "./steps/index.ts";
