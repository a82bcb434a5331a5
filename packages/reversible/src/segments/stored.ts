import { checkpointAll, defineFunction, type Tensor } from "@revnet-zero/tensor";
import { endOf } from "../blockChecks.ts";
import { CompressedBuffers } from "../compressed.ts";
import { SharedOffload } from "../offload.ts";
import { StoredPass } from "../passes/storedPass.ts";
import type { Segment } from "../plan.ts";
import { SwappedBuffers } from "../swap.ts";
import { contextTensors, type Flow, flat, type SegmentRun, unflat } from "./flow.ts";

/** Blocks by ordinary recorded ops. */
export function keepEverything(flow: Flow, { blocks }: Segment, run: SegmentRun): Flow {
  const { engine, stored: arithmetic, runner, context } = run;
  const { streams: inputs, logDeterminant } = flow;
  const pass = new StoredPass({ engine, arithmetic, inputs, runner, context, logDeterminant });
  for (const { steps, first } of blocks) pass.runSteps(steps, first);
  return { streams: pass.streams, logDeterminant: pass.logDeterminant, isEntered: true };
}

/** The same with what the ops save in the offload store. */
export function keepElsewhere(flow: Flow, segment: Segment, run: SegmentRun): Flow {
  const { engine, offload } = run;
  return engine.withSavedKeeper(new SwappedBuffers(offload), () => keepEverything(flow, segment, run));
}

/** The same with what the ops save in 8 bits a number. */
export function keepCompressed(flow: Flow, segment: Segment, run: SegmentRun): Flow {
  return run.engine.withSavedKeeper(new CompressedBuffers(), () => keepEverything(flow, segment, run));
}

/** The stored form of one block with its inputs kept: backward runs it again. */
export function runAgain(flow: Flow, segment: Segment, run: SegmentRun): Flow {
  const has = flow.logDeterminant !== undefined;
  const holds = contextTensors(run.context);
  return unflat(checkpointAll(secondRun(flow, segment, run), flat(flow), { holds }), has);
}

/** The same with its input streams in the offload store. */
export function fetchAgain(flow: Flow, segment: Segment, run: SegmentRun): Flow {
  const { engine, offload, context } = run;
  const has = flow.logDeterminant !== undefined;
  const keeps = engine.recordsGradients;
  const again = secondRun(flow, segment, run);
  let offloaded: SharedOffload | undefined;
  const node = defineFunction({
    name: "offloaded block",
    isTwiceDifferentiable: true,
    forward({ hold, onRelease, save }, ...inputs) {
      hold(...contextTensors(context));
      if (keeps) {
        const shared = flow.offloaded?.retain() ?? new SharedOffload(offload, inputs.slice(0, flow.streams.length));
        onRelease(() => shared.release());
        offloaded = shared;
        save(...inputs.slice(flow.streams.length));
      }
      return again(...inputs);
    },
    backward(pass, ...gradients) {
      const inputs = [...offloaded!.fetch(), ...pass.takeSaved()].map((x, i) => pass.asInput(x, i));
      const outputs = pass.recompute(() => again(...inputs));
      pass.backward(outputs, gradients);
      return [];
    },
  });
  return unflat(node(...flat(flow)), has);
}

/** A function that runs a block by recorded ops, and from its second run on checks what comes out. */
function secondRun(flow: Flow, segment: Segment, run: SegmentRun): (...xs: Tensor[]) => Tensor[] {
  const has = flow.logDeterminant !== undefined;
  const block = segment.blocks[0]!;
  let isFirst = true;
  return (...xs) => {
    const after = run.runner.again(() => keepEverything(unflat(xs, has), segment, run));
    if (isFirst) run.checks?.note(endOf(block), after.streams);
    else run.checks?.compare(endOf(block), after.streams, block.orderAfter);
    isFirst = false;
    return flat(after);
  };
}
