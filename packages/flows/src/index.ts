export { haarDownsample, haarUpsample } from "./haar.ts";
export { type CellOptions, depthToSpace, spaceToDepth } from "./spaceToDepth.ts";
