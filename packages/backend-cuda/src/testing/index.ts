// What tests and benchmarks of this backend share; no part of computing on it.
export { type AheadReport, compileAhead } from "../ahead.ts";
export { buildAddon, buildStandIn } from "../build.ts";
export { type AttentionCase, attentionCases, graphCases, tilesAgainstRows } from "./attention.ts";
export { standInCache, useStandIn } from "./standIn.ts";
