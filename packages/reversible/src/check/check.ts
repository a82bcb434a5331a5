import { type Engine, type HostData, isFloat, type Key, type Tensor } from "@revnet-zero/tensor";
import { type ReversibleMode, storedTwin } from "../modes.ts";
import type { ReversibleSequence } from "../sequence.ts";
import { BitComparison, compareGradients, takeGradients } from "./compare.ts";
import { withStateKept } from "./state.ts";

export interface ReversibilityReport {
  /** Whether inverse(forward(x)) has the bits of x. */
  readonly reconstructionBitEqual: boolean;
  /** ‖inverse(forward(x)) - x‖ / ‖x‖. */
  readonly reconstructionRelativeError: number;
  /** The largest distance of an element from x, in units in the last place or in steps of the grid. */
  readonly reconstructionUlpError: number;
  /** Whether every parameter and input gradient has the bits of stored backpropagation. */
  readonly gradientsBitEqual: boolean;
  /** ‖g - stored g‖ / ‖stored g‖ over all gradients together. */
  readonly gradientRelativeError: number;
  readonly elementsCompared: number;
  /** The first difference, in words: stream or parameter, element, both values. */
  readonly firstDifference: string | undefined;
}

export interface CheckOptions {
  /** Generator key of the passes, for branches with dropout. */
  readonly key?: Key | undefined;
  /** What the branches are given after their streams. */
  readonly context?: readonly unknown[];
}

/**
 * Runs a sequence forward, inverts it, and compares its gradients (for the loss Σ c·y with the given cotangents) with
 * stored backpropagation of the same sequence. Nothing else is assumed of the branches than determinism.
 * Streams are float or fixed-point; floats are taken to the grid first, as the sequence itself would. Gradients that the
 * parameters hold are freed; buffers (running statistics) are put back.
 */
export async function compareReversible(
  sequence: ReversibleSequence,
  inputs: readonly Tensor[],
  cotangents: readonly Tensor[],
  { key, context = [] }: CheckOptions = {},
): Promise<ReversibilityReport> {
  const { engine } = inputs[0]!;
  const scope = engine.openScope("checkReversible");
  const { mode, plan } = sequence;
  try {
    return await withStateKept(sequence, async () => {
      const reconstruction = new BitComparison();
      const streams = inputs.map((x) => sequence.enter(x));
      const pass = keyed(engine, key, () => sequence.invertible(streams[0]!, ...streams.slice(1), ...context));
      const back = pass.inverse();
      for (const [i, x] of streams.entries()) reconstruction.add(`stream ${i}`, await back[i]!.data(), await x.data());

      const gradients = new BitComparison();
      const at = { inputs, cotangents, key, context };
      const found = await gradientsIn(sequence, mode, at);
      const expected = await gradientsIn(sequence, storedTwin(mode), at);
      compareGradients(gradients, found, expected);
      return {
        reconstructionBitEqual: reconstruction.isEqual,
        reconstructionRelativeError: reconstruction.relativeError,
        reconstructionUlpError: reconstruction.unitsInLastPlace,
        gradientsBitEqual: gradients.isEqual,
        gradientRelativeError: gradients.relativeError,
        elementsCompared: reconstruction.elements + gradients.elements,
        firstDifference: reconstruction.firstDifference ?? gradients.firstDifference,
      };
    });
  } finally {
    sequence.mode = mode;
    sequence.plan = plan;
    scope.close();
  }
}

const keyed = <T>(engine: Engine, key: Key | undefined, f: () => T): T =>
  key === undefined ? f() : engine.withKey(key, f);

interface Pass {
  readonly inputs: readonly Tensor[];
  readonly cotangents: readonly Tensor[];
  readonly key: Key | undefined;
  readonly context: readonly unknown[];
}

/** One forward and backward in a mode: parameter gradients by name, and the inputs' as "input 0" and so on. */
async function gradientsIn(
  sequence: ReversibleSequence,
  mode: ReversibleMode,
  { inputs, cotangents, key, context }: Pass,
): Promise<Map<string, HostData | undefined>> {
  const { engine } = inputs[0]!;
  sequence.mode = mode;
  const leaves = inputs.map((x) => (isFloat(x.dtype) ? x.detach() : sequence.read(x)).requireGrad());
  await takeGradients(sequence);
  keyed(engine, key, () =>
    engine.scope(() => {
      const outputs = sequence.call(leaves[0]!, ...leaves.slice(1), ...context);
      outputs
        .map((y, i) => y.mul(cotangents[i]!).sum())
        .reduce((a, b) => a.add(b))
        .backward();
    }),
  );
  const found = await takeGradients(sequence);
  for (const [i, leaf] of leaves.entries()) found.set(`input ${i}`, await leaf.grad?.data());
  return found;
}
