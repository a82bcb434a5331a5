import type { Work } from "./stepRecorder.ts";

// What an ordinary core of these years does; only ratios matter, since what is observed scales all.
const FLOPS_PER_MS = 2e7;
const BYTES_PER_MS = 5e6;
const OPS_PER_MS = 200;

/** Time of work before anything was observed: computing, moving and starting, one after the other. */
export const priorMs = ({ flops, bytes, ops }: Work): number =>
  flops / FLOPS_PER_MS + bytes / BYTES_PER_MS + ops / OPS_PER_MS;
