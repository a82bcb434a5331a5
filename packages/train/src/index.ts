export { type AnyOptimizer, buildModel, buildOptimizer, buildSchedule, runKey } from "./build.ts";
export { checkState, type History, type TrainerState } from "./checkpointState.ts";
export * from "./config.ts";
export { type BrokenRule, brokenRules, type ConfigRule, configRules } from "./configRules.ts";
export { estimateModes, estimateStep, type StepEstimate } from "./estimate.ts";
export { type EvaluateOptions, evaluate } from "./evaluate.ts";
export { Emitter, type StepEvent, type TrainEvents } from "./events.ts";
export { measureActivationBytes } from "./measure.ts";
export { formatProgress, type ProgressState } from "./progress/formatProgress.ts";
export { ProgressBar, type ProgressBarOptions, type ProgressStream } from "./progress/progressBar.ts";
export { type ExactnessResult, proveExactness } from "./prove.ts";
export { renderReport } from "./report/renderReport.ts";
export type * from "./report/reportData.ts";
export {
  type ChartPoint,
  type ChartSeries,
  type LineChart,
  type ReferenceLine,
  svgLineChart,
} from "./report/svgLineChart.ts";
export {
  applyGradients,
  computeGradients,
  type GradientOptions,
  inPrecision,
  type StepGradients,
  toTensors,
} from "./step.ts";
export { fromEntries, toEntries } from "./tensorFiles.ts";
export { TrainError } from "./trainError.ts";
export { Trainer, type TrainerOptions, type TrainResult } from "./trainer.ts";
export * from "./units.ts";
