import { type BackwardContext, defineFunction, isFloat, type Tensor } from "@revnet-zero/tensor";
import { startOf } from "../blockChecks.ts";
import { noteDrift, relativeDrift, sampleStreams } from "../drift.ts";
import { SharedOffload } from "../offload.ts";
import { BackwardPass } from "../passes/backwardPass.ts";
import { ForwardPass } from "../passes/forwardPass.ts";
import { bytesOf, SideInformation } from "../passes/side.ts";
import { owning, ownStream } from "../passes/streamPass.ts";
import type { Segment } from "../plan.ts";
import { contextTensors, type Flow, flat, makeBuffers, type SegmentRun, unflat } from "./flow.ts";

/** What one node's forward pass leaves for its backward pass besides tensors. */
interface Left {
  numStreams: number;
  numSamples: number;
  offloaded?: SharedOffload;
}

/** Blocks as one node, whose backward pass rebuilds the streams from its outputs. */
export function rebuild(flow: Flow, { blocks, endsOffloaded }: Segment, run: SegmentRun): Flow {
  const { engine, arithmetic, runner, context, counts, checks, update, offload, drifts, noteSide, observer } = run;
  const shared = { engine, arithmetic, runner, context };
  const hasLogDeterminant = flow.logDeterminant !== undefined;
  const keeps = engine.recordsGradients;
  const left: Left = { numStreams: 0, numSamples: 0 };
  const node = defineFunction({
    name: "reversible sequence",
    forward({ save, hold, onRelease }, ...inputs) {
      const xs = hasLogDeterminant ? inputs.slice(0, -1) : inputs;
      const streams: Tensor[] = [];
      const samples = owning(
        () => streams,
        () => {
          // What has entered is a stream, or a buffer, whose type may be another.
          for (const x of xs) streams.push(ownStream(flow.isEntered ? x.detach() : arithmetic.enter(x)));
          if (!flow.isEntered) streams.push(...makeBuffers(streams, arithmetic).map(ownStream));
          return arithmetic.isExact ? [] : sampleStreams(streams);
        },
      );
      const side = new SideInformation(engine, { keeps });
      const logDeterminant = hasLogDeterminant ? engine.keep(inputs.at(-1)!.detach()) : undefined;
      const pass = new ForwardPass({ ...shared, streams, side, counts, logDeterminant });
      const owned = (): (Tensor | undefined)[] => [...streams, pass.logDeterminant];
      const runAndKeep = (): void => {
        pass.runBlocks(blocks, (block, runSteps) => {
          observer?.forward(block.index);
          checks?.note(startOf(block), streams);
          if (update === undefined) runSteps();
          else update.watch(block, engine, runSteps);
        });
        noteSide(side.bytes + bytesOf(streams.slice(xs.length)));
        left.numStreams = streams.length;
        left.numSamples = samples.length;
        hold(...contextTensors(context));
        if (endsOffloaded && keeps) {
          const offloaded = new SharedOffload(offload, streams);
          left.offloaded = offloaded;
          onRelease(() => offloaded.release());
          save(...samples, ...side.tensors);
        } else save(...streams, ...samples, ...side.tensors);
      };
      try {
        owning(owned, runAndKeep);
      } finally {
        side.dispose();
      }
      return flat({ streams, logDeterminant: pass.logDeterminant, isEntered: true });
    },
    backward(backward, ...gradients) {
      update?.assertAllowed();
      const { streams, samples, side } = take(backward, left);
      const cotangents = gradients.slice(0, left.numStreams).map((g) => (g === undefined ? undefined : takeOver(g)));
      const logDeterminant = hasLogDeterminant ? gradients.at(-1) : undefined;
      const pass = new BackwardPass({ ...shared, backward, streams, side, cotangents, logDeterminant });
      try {
        runner.again(() =>
          pass.runBlocks(blocks, (block, runSteps) => {
            observer?.backward(block.index);
            runSteps();
            checks?.compare(startOf(block), streams, block.order);
            update?.apply(block);
          }),
        );
      } finally {
        side.dispose();
      }
      if (!arithmetic.isExact) {
        owning(
          () => [...streams, ...cotangents],
          () => noteDrift(drifts, blocks[0]!.index, relativeDrift(samples, sampleStreams(streams))),
        );
      }
      for (const s of streams) s.dispose();
      for (const c of cotangents) if (c !== undefined) engine.adopt(c);
      const own = flow.isEntered ? cotangents : cotangents.slice(0, flow.streams.length);
      return hasLogDeterminant ? [...own, logDeterminant] : own;
    },
  });
  // Recorded casts, as the stored form has: a gradient arrives in its input's dtype, rounded the same way.
  const given = flat(flow);
  const entering = given.map((x) => (isFloat(x.dtype) ? x.cast("f32") : x));
  const outputs = node(...entering);
  for (const x of entering) if (!given.includes(x)) x.dispose();
  // What was not recorded has let go of everything at once.
  const isRecorded = outputs[0]!.edge !== undefined;
  return { ...unflat(outputs, hasLogDeterminant), offloaded: isRecorded ? left.offloaded : undefined };
}

/** What forward saved, owned by the pass from now on. */
function take(backward: BackwardContext, { numStreams, numSamples, offloaded }: Left) {
  const { engine } = backward;
  const saved = backward.takeSaved();
  const streams = (offloaded?.fetch() ?? saved.splice(0, numStreams)).map(ownStream);
  const samples = saved.splice(0, numSamples);
  const side = new SideInformation(engine, { tensors: saved.map((t) => engine.keep(t)) });
  return { streams, samples, side };
}

/** The pass's own handle on a gradient; the walk's is given up, so that sums can be made in place. */
function takeOver(gradient: Tensor): Tensor {
  const own = gradient.engine.keep(gradient.detach());
  gradient.dispose();
  return own;
}
