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
export type { BlockCosts, PolicyCost } from "./planner/problem.ts";
