import type { BackwardContext, Engine, Tensor } from "@revnet-zero/tensor";
import type { StreamArithmetic } from "./arithmetic.ts";
import { type BranchInput, type HalfStep, incrementOf, normAfter } from "./block.ts";
import type { BranchRunner } from "./context.ts";
import { noteCounts } from "./health.ts";

/** A stream moved out of its scope: the pass owns its streams itself and frees each as it is replaced. */
export function ownStream(t: Tensor): Tensor {
  if (t.storage.references === 1) t.storage.category = "streams";
  return t.engine.keep(t);
}

/** Runs a pass over streams it owns; when a branch throws, they are freed before the error goes on. */
function owning<T>(owned: readonly (Tensor | undefined)[], f: () => T): T {
  try {
    return f();
  } catch (error) {
    for (const t of owned) t?.dispose();
    throw error;
  }
}

/**
 * All half-steps forward, unrecorded, in place where possible. The streams given are given up. A branch that begins with
 * a norm of what the step before has written finds it computed with that step's sum.
 */
export function runForward(
  engine: Engine,
  steps: readonly HalfStep[],
  streams: Tensor[],
  arithmetic: StreamArithmetic,
  context: BranchRunner,
  record?: Tensor,
): Tensor[] {
  let normalised: Tensor | undefined;
  steps.forEach((half, i) => {
    const { target, source } = half;
    const step = (): void => {
      const given = normalised;
      const input = (): BranchInput =>
        given === undefined ? { value: arithmetic.read(streams[source]!) } : { normalised: given };
      const increment = context.run(i, () => incrementOf(half, input()));
      normalised = undefined;
      given?.dispose();
      const sum = arithmetic.add(streams[target]!, increment, normAfter(half, steps[i + 1]));
      streams[target] = ownStream(sum.stream);
      if (sum.normalised !== undefined) normalised = engine.keep(sum.normalised);
      if (record !== undefined) noteCounts(record, i, sum.counts);
    };
    owning([...streams, normalised], () => engine.scope(step));
  });
  return streams;
}

/** The inverse of `runForward`. The streams given are given up. */
export function runInverse(
  engine: Engine,
  steps: readonly HalfStep[],
  streams: Tensor[],
  arithmetic: StreamArithmetic,
  context: BranchRunner,
): Tensor[] {
  for (let i = steps.length - 1; i >= 0; i--) {
    const half = steps[i]!;
    const { target, source } = half;
    const step = (): void => {
      const increment = context.run(i, () => incrementOf(half, { value: arithmetic.read(streams[source]!) }));
      streams[target] = ownStream(arithmetic.remove(streams[target]!, increment));
    };
    owning(streams, () => engine.scope(step));
  }
  return streams;
}

/**
 * Walks the half-steps backwards from the final streams: each branch is run once, recorded; its value rebuilds the
 * stream it was added to, and the same record gives the gradient. Streams and cotangents are given up.
 */
export function runBackward(
  backward: BackwardContext,
  steps: readonly HalfStep[],
  streams: Tensor[],
  cotangents: (Tensor | undefined)[],
  arithmetic: StreamArithmetic,
  context: BranchRunner,
): void {
  const { engine } = backward;
  for (let i = steps.length - 1; i >= 0; i--) {
    const half = steps[i]!;
    const { target, source } = half;
    const step = (): void => {
      const leaf = arithmetic.read(streams[source]!).requireGrad();
      const increment = backward.recompute(() => context.run(i, () => incrementOf(half, { value: leaf })));
      streams[target] = ownStream(arithmetic.remove(streams[target]!, increment.detach()));
      const [gradient] = backward.backward([increment], [cotangents[target]?.cast(increment.dtype)], [leaf]);
      if (gradient === undefined) return;
      const before = cotangents[source];
      cotangents[source] = engine.keep(before === undefined ? gradient : before.addDonating(gradient));
      before?.dispose();
    };
    owning([...streams, ...cotangents], () => engine.scope(step));
  }
}
