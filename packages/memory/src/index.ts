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
export { evaluatePlan } from "./planner/evaluate.ts";
export { leastPeakBytes, type PlanOptions, planChain } from "./planner/planChain.ts";
export type { Plan, PlanChoice, PlanCost, PlanItem, PlanProblem, Table } from "./planner/problem.ts";
