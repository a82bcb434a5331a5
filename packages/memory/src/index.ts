export type { PlannedChain } from "./costModel/chains.ts";
export type { Links } from "./costModel/links.ts";
export { type OnlineOptions, OnlineTimes, ScaledPrior } from "./costModel/onlineTimes.ts";
export type { ProbedChoice, ProbedItem } from "./costModel/probe.ts";
export { type ChoiceTimes, problemOf } from "./costModel/problemOf.ts";
export { staticTimes, type TimeModel } from "./costModel/timeModel.ts";
export { TimeNetwork, type TimeNetworkOptions } from "./costModel/timeNetwork.ts";
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
export { type NestedBlock, type NestedChoice, type NestedCost, nestedPlans } from "./planner/nested.ts";
export { leastPeakBytes, type PlanOptions, planChain } from "./planner/planChain.ts";
export type { ChainPolicy, Link, Plan, PlanChoice, PlanCost, PlanItem, PlanProblem, Table } from "./planner/problem.ts";
export { MemoryProfile } from "./profiler/memoryProfile.ts";
export { MemoryProfiler, type ProfilerOptions } from "./profiler/memoryProfiler.ts";
export type { Reason } from "./profiler/reasons.ts";
export type { BufferLife, Change, OpRecord, Place, Recording, StepPhase } from "./profiler/recording.ts";
export { stepPhases } from "./profiler/recording.ts";
export type { LiveTensor, Usage } from "./profiler/tables.ts";
export {
  IntelligentMemoryScheduler,
  type MemorySchedulerOptions,
  type ScheduledStep,
} from "./scheduler/intelligentMemoryScheduler.ts";
export { type LayerName, type LayerPin, LayerScheduler } from "./scheduler/layerScheduler.ts";
export { type ModelPlan, ModelPlanner, type ModelPlannerOptions, type PlannedLayer } from "./scheduler/modelPlanner.ts";
export { type MemoryStrategy, strategyNames } from "./scheduler/strategies.ts";
export { type SimulatedStep, type Simulation, simulate } from "./simulation/simulate.ts";
export { type SimulatedChainOptions, simulatedChain } from "./simulation/simulatedChain.ts";
export { type MeasureOptions, measureTimes } from "./tradeOffs/measureTimes.ts";
export { type CostedPlan, paretoPlans, uniformPlan } from "./tradeOffs/paretoPlans.ts";
export { type PlanChartOptions, planChart } from "./tradeOffs/planChart.ts";
