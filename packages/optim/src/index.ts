export { Adafactor, type AdafactorOptions } from "./adafactor.ts";
export { AdamW, type AdamWOptions } from "./adamw.ts";
export { type ClipOptions, type ClippedGradients, clipByGlobalNorm } from "./clip.ts";
export { GradScaler, type GradScalerOptions, type GradScalerState } from "./gradScaler.ts";
export { Lion, type LionOptions } from "./lion.ts";
export {
  type GroupInput,
  Optimizer,
  type OptimizerOptions,
  type OptimizerState,
  type ParameterGroup,
  type Slots,
  type StepContext,
  type StepOptions,
  type Update,
} from "./optimizer.ts";
export type { Phase, RampOptions, Schedule } from "./schedule.ts";
export * as schedules from "./schedule.ts";
export { SGD, type SGDOptions } from "./sgd.ts";
