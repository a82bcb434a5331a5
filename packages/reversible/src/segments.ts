import { checkpointAll, defineFunction, type Engine, isFloat, type Tensor } from "@revnet-zero/tensor";
import type { StoredArithmetic, StreamArithmetic } from "./arithmetic/arithmetic.ts";
import type { PlacedBlock } from "./block.ts";
import { relativeDrift, sampleStreams } from "./drift.ts";
import { BackwardPass } from "./passes/backwardPass.ts";
import type { PassContext } from "./passes/context.ts";
import { ForwardPass } from "./passes/forwardPass.ts";
import { SideInformation } from "./passes/side.ts";
import { StoredPass } from "./passes/storedPass.ts";
import { ownStream } from "./passes/streamPass.ts";
import type { Segment } from "./plan.ts";
import type { Step } from "./steps/step.ts";

/** What goes from one segment to the next. */
export interface Flow {
  /** By slot; then their information buffers, where the arithmetic has some. */
  readonly streams: readonly Tensor[];
  readonly logDeterminant?: Tensor | undefined;
  /** False where the sequence begins: floats that are no streams yet, and no buffers. */
  readonly isEntered: boolean;
}

/** What all segments of one pass share. */
export interface SegmentRun {
  readonly engine: Engine;
  readonly arithmetic: StreamArithmetic;
  readonly stored: StoredArithmetic;
  readonly runner: PassContext;
  readonly context: readonly unknown[];
  readonly counts: Tensor;
  readonly drift: Tensor;
}

type Runner = (flow: Flow, blocks: readonly PlacedBlock[], run: SegmentRun) => Flow;

const runners: { readonly [K in Segment["kind"]]: Runner } = {
  reconstruct: rebuild,
  store: keepEverything,
  checkpoint: runAgain,
  offload: runAgain,
};

/** Runs all segments; what goes between them is freed, the inputs are left alone. */
export function runSegments(segments: readonly Segment[], inputs: Flow, run: SegmentRun): Flow {
  const dropBetween = (before: Flow, after: Flow): void => {
    for (const t of flat(before)) if (!inputs.streams.includes(t) && !flat(after).includes(t)) t.dispose();
  };
  const next = (before: Flow, f: () => Flow): Flow => {
    const after = f();
    dropBetween(before, after);
    return after;
  };
  const last = segments.reduce((flow, { kind, blocks }) => {
    const entered = kind === "reconstruct" ? flow : next(flow, () => enterStored(flow, run));
    return next(entered, () => runners[kind](entered, blocks, run));
  }, inputs);
  return next(last, () => enterStored(last, run));
}

const stepsOf = (blocks: readonly PlacedBlock[]): readonly Step[] => blocks.flatMap((b) => b.steps);

/** A flow as the inputs or outputs of one node, and back. */
const flat = ({ streams, logDeterminant }: Flow): Tensor[] =>
  logDeterminant === undefined ? [...streams] : [...streams, logDeterminant];

function unflat(tensors: readonly Tensor[], hasLogDeterminant: boolean): Flow {
  if (!hasLogDeterminant) return { streams: tensors, isEntered: true };
  return { streams: tensors.slice(0, -1), logDeterminant: tensors.at(-1)!, isEntered: true };
}

/** One node whose backward rebuilds the streams from its outputs. */
function rebuild(flow: Flow, blocks: readonly PlacedBlock[], run: SegmentRun): Flow {
  const { engine, arithmetic, runner, context, counts, drift } = run;
  const steps = stepsOf(blocks);
  const { first } = blocks[0]!;
  const hasLogDeterminant = flow.logDeterminant !== undefined;
  const shared = { engine, arithmetic, runner, context };
  const keeps = engine.recordsGradients;
  let [numStreams, numSamples] = [0, 0];
  const node = defineFunction({
    name: "reversible sequence",
    forward({ save }, ...inputs) {
      const xs = hasLogDeterminant ? inputs.slice(0, -1) : inputs;
      const streams = xs.map((x) => ownStream(arithmetic.enter(x)));
      if (!flow.isEntered) streams.push(...makeBuffers(streams, arithmetic).map(ownStream));
      const samples = arithmetic.isExact ? [] : sampleStreams(streams);
      [numStreams, numSamples] = [streams.length, samples.length];
      const side = new SideInformation(engine, { keeps });
      const logDeterminant = hasLogDeterminant ? engine.keep(inputs.at(-1)!.detach()) : undefined;
      const pass = new ForwardPass({ ...shared, streams, side, counts, logDeterminant });
      try {
        pass.runSteps(steps, first);
        save(...streams, ...samples, ...side.tensors);
      } finally {
        side.dispose();
      }
      return flat({ streams, logDeterminant: pass.logDeterminant, isEntered: true });
    },
    backward(backward, ...gradients) {
      const saved = backward.takeSaved();
      const streams = saved.slice(0, numStreams).map(ownStream);
      const samples = saved.slice(numStreams, numStreams + numSamples);
      const side = new SideInformation(engine, {
        tensors: saved.slice(numStreams + numSamples).map((t) => engine.keep(t)),
      });
      const cotangents = gradients.slice(0, numStreams).map((g) => (g === undefined ? undefined : takeOver(g)));
      const logDeterminant = hasLogDeterminant ? gradients.at(-1) : undefined;
      const pass = new BackwardPass({ ...shared, backward, streams, side, cotangents, logDeterminant });
      try {
        runner.again(() => pass.runSteps(steps, first));
      } finally {
        side.dispose();
      }
      if (!arithmetic.isExact) drift.assign(relativeDrift(samples, sampleStreams(streams)));
      for (const s of streams) s.dispose();
      for (const c of cotangents) if (c !== undefined) engine.adopt(c);
      const own = flow.isEntered ? cotangents : cotangents.slice(0, flow.streams.length);
      return hasLogDeterminant ? [...own, logDeterminant] : own;
    },
  });
  // Recorded casts, as the stored form has: a gradient arrives in its input's dtype, rounded the same way.
  const entering = flat(flow).map((x) => (isFloat(x.dtype) ? x.cast("f32") : x));
  const outputs = node(...entering);
  for (const x of entering) if (!flat(flow).includes(x)) x.dispose();
  return unflat(outputs, hasLogDeterminant);
}

/** Floats as streams, recorded, with their buffers. */
function enterStored(flow: Flow, { stored }: SegmentRun): Flow {
  if (flow.isEntered) return flow;
  // An alias, so that a stream's gradient is summed up before it joins what else its tensor receives: the same order
  // of additions as in the reconstructing modes, one tensor for several streams included.
  const streams = flow.streams.map((x) =>
    x.dtype === stored.dtype && !isFloat(x.dtype) ? x.alias() : stored.enter(x),
  );
  return { ...flow, streams: [...streams, ...makeBuffers(streams, stored)], isEntered: true };
}

const makeBuffers = (streams: readonly Tensor[], { makeBuffer }: Pick<StreamArithmetic, "makeBuffer">): Tensor[] =>
  makeBuffer === undefined ? [] : streams.map(makeBuffer);

/** Ordinary recorded ops. */
function keepEverything(flow: Flow, blocks: readonly PlacedBlock[], run: SegmentRun): Flow {
  const { engine, stored: arithmetic, runner, context } = run;
  const { streams: inputs, logDeterminant } = flow;
  const pass = new StoredPass({ engine, arithmetic, inputs, runner, context, logDeterminant });
  pass.runSteps(stepsOf(blocks), blocks[0]!.first);
  return { streams: pass.streams, logDeterminant: pass.logDeterminant, isEntered: true };
}

/** The stored form with only its inputs kept: backward runs it again. */
function runAgain(flow: Flow, blocks: readonly PlacedBlock[], run: SegmentRun): Flow {
  const has = flow.logDeterminant !== undefined;
  const again = (...xs: Tensor[]): Tensor[] =>
    run.runner.again(() => flat(keepEverything(unflat(xs, has), blocks, run)));
  return unflat(checkpointAll(again, flat(flow)), has);
}

/** The pass's own handle on a gradient; the walk's is given up, so that sums can be made in place. */
function takeOver(gradient: Tensor): Tensor {
  const own = gradient.engine.keep(gradient.detach());
  gradient.dispose();
  return own;
}
