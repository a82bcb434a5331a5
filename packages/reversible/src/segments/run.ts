import type { Segment } from "../plan.ts";
import { enterStored, type Flow, flat, type SegmentRun } from "./flow.ts";
import { rebuild } from "./rebuild.ts";
import { fetchAgain, keepCompressed, keepElsewhere, keepEverything, runAgain } from "./stored.ts";

const runners: { readonly [K in Segment["kind"]]: (flow: Flow, segment: Segment, run: SegmentRun) => Flow } = {
  reconstruct: rebuild,
  store: keepEverything,
  checkpoint: runAgain,
  offload: fetchAgain,
  swap: keepElsewhere,
  store8: keepCompressed,
};

/** Runs all segments; what goes between them is freed, the inputs are left alone. */
export function runSegments(segments: readonly Segment[], inputs: Flow, run: SegmentRun): Flow {
  const next = (before: Flow, f: (before: Flow) => Flow): Flow => {
    const after = f(before);
    for (const t of flat(before)) if (!inputs.streams.includes(t) && !flat(after).includes(t)) t.dispose();
    return after;
  };
  const enter = (flow: Flow): Flow => enterStored(flow, run);
  const last = segments.reduce((flow, segment) => {
    const { kind, blocks } = segment;
    const entered = kind === "reconstruct" ? flow : next(flow, enter);
    // A segment of rebuilt blocks says itself where each begins; of the others each is one block.
    if (kind !== "reconstruct") run.observer?.forward(blocks[0]!.index);
    return next(entered, (before) => runners[kind](before, segment, run));
  }, inputs);
  run.observer?.forward(segments.reduce((n, { blocks }) => n + blocks.length, 0));
  return next(last, enter);
}
