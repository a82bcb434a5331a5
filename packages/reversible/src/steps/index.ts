export { permute } from "../block.ts";
export { type AddOptions, add } from "./add.ts";
export { type CombineOptions, combine } from "./combine.ts";
export { type CustomMap, custom } from "./custom.ts";
export { type ScaleOptions, type ScaleParts, scale } from "./scale.ts";
export type { Step, StepMaker, StepPlace } from "./step.ts";
