export {
  type EstimateOptions,
  estimateProgram,
  type ProgramEstimate,
  type StepProgram,
} from "./estimate/estimateProgram.ts";
export {
  type Fit,
  type FitOptions,
  largestThatFits,
  type Probe,
  type SearchOptions,
  type StepSizes,
  searchLargest,
} from "./estimate/largestThatFits.ts";
export { DiskStore, type DiskStoreOptions } from "./offload/diskStore.ts";
export { OffloadError } from "./offload/offloadError.ts";
export { evaluatePlan } from "./planner/evaluate.ts";
export { leastPeakBytes, type PlanOptions, planChain } from "./planner/planChain.ts";
export type { Plan, PlanChoice, PlanCost, PlanItem, PlanProblem, Table } from "./planner/problem.ts";
export { MemoryProfile } from "./profiler/memoryProfile.ts";
export { MemoryProfiler, type ProfilerOptions } from "./profiler/memoryProfiler.ts";
export type { Reason } from "./profiler/reasons.ts";
export type { BufferLife, Change, OpRecord, Place, Recording, StepPhase } from "./profiler/recording.ts";
export { stepPhases } from "./profiler/recording.ts";
export type { LiveTensor, Usage } from "./profiler/tables.ts";
