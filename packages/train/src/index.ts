export { type AnyOptimizer, buildModel, buildOptimizer, buildSchedule, runKey } from "./build.ts";
export { checkState, type History, type TrainerState } from "./checkpointState.ts";
export * from "./config.ts";
export { type BrokenRule, brokenRules, type ConfigRule, configRules } from "./configRules.ts";
export {
  type BuildStepOptions,
  type BuiltStep,
  buildStep,
  type EstimateStepOptions,
  estimateModes,
  estimateStep,
  largestStepThatFits,
  type StepEstimate,
  withSize,
} from "./estimate.ts";
export { type EvaluateOptions, evaluate } from "./evaluate.ts";
export { Emitter, type StepEvent, type TrainEvents } from "./events.ts";
export { measureActivationBytes } from "./measure.ts";
export { type LayerPlan, type PlanStepOptions, planStep, type StepPlan } from "./planStep.ts";
export { formatProgress, type ProgressState } from "./progress/formatProgress.ts";
export { ProgressBar, type ProgressBarOptions, type ProgressStream } from "./progress/progressBar.ts";
export { type ExactnessResult, proveExactness } from "./prove.ts";
export { renderReport } from "./report/renderReport.ts";
export type * from "./report/reportData.ts";
export {
  applyGradients,
  type Batch,
  computeGradients,
  type GradientOptions,
  inPrecision,
  type Pass,
  type PassOptions,
  passOf,
  recordedPassOf,
  type StepGradients,
  toTensors,
} from "./step.ts";
export { fromEntries, toEntries } from "./tensorFiles.ts";
export { TrainError } from "./trainError.ts";
export { Trainer, type TrainerOptions, type TrainResult } from "./trainer.ts";
export { recordedStepOf, type StepMeasures, type WholeStepOptions } from "./wholeStep.ts";
