import type { Module } from "@revnet-zero/nn";
import { type Engine, type HostData, type Key, type Tensor, ValueError } from "@revnet-zero/tensor";
import { type ReversibleMode, storedTwin } from "./modes.ts";
import type { ReversibleSequence, Streams } from "./sequence.ts";

export interface ReversibilityReport {
  /** Whether inverse(forward(x)) has the bits of x. */
  readonly reconstructionBitEqual: boolean;
  /** ‖inverse(forward(x)) - x‖ / ‖x‖. */
  readonly reconstructionRelativeError: number;
  /** Whether every parameter and input gradient has the bits of stored backpropagation. */
  readonly gradientsBitEqual: boolean;
  /** ‖g - stored g‖ / ‖stored g‖ over all gradients together. */
  readonly gradientRelativeError: number;
  readonly elementsCompared: number;
  /** The first difference, in words: stream or parameter, element, both values. */
  readonly firstDifference: string | undefined;
}

/** Compares arrays element by element, bit for bit (so that -0 is not 0 and NaN equals itself). */
export class BitComparison {
  elements = 0;
  firstDifference: string | undefined;
  #error = 0;
  #size = 0;

  add(name: string, found: HostData, expected: HostData): void {
    if (found.length !== expected.length)
      throw new ValueError("compare", `${name} has ${found.length} elements, expected ${expected.length}`);
    for (let i = 0; i < found.length; i++) {
      const [a, b] = [found[i]!, expected[i]!];
      this.elements++;
      this.#size += b ** 2;
      if (Object.is(a, b)) continue; // equal infinities and NaNs have no distance
      this.#error += (a - b) ** 2;
      this.firstDifference ??= `${name}[${i}] is ${signed(a)}, expected ${signed(b)}`;
    }
  }

  get isEqual(): boolean {
    return this.firstDifference === undefined;
  }
  get relativeError(): number {
    return this.#error === 0 ? 0 : Math.sqrt(this.#error / this.#size);
  }
}

const signed = (v: number): string => (Object.is(v, -0) ? "-0" : String(v));

/** The gradients of a pass by name, copied to the host; the gradients themselves are freed. */
export async function takeGradients(module: Module): Promise<Map<string, HostData | undefined>> {
  const found = new Map<string, HostData | undefined>();
  for (const [name, p] of module.namedParameters()) {
    found.set(name, await p.grad?.data());
    p.grad?.dispose();
    p.grad = undefined;
  }
  return found;
}

/** Adds every gradient of two passes to a comparison; one present in only one of them is a difference. */
export function compareGradients(
  comparison: BitComparison,
  found: ReadonlyMap<string, HostData | undefined>,
  expected: ReadonlyMap<string, HostData | undefined>,
): void {
  for (const [name, e] of expected) {
    const f = found.get(name);
    if (f !== undefined && e !== undefined) comparison.add(`gradient of ${name}`, f, e);
    else if (f !== e)
      comparison.firstDifference ??= `gradient of ${name} is ${f === undefined ? "missing" : "unexpected"}`;
  }
}

export interface CheckOptions {
  /** Generator key of the passes, for branches with dropout. */
  readonly key?: Key;
}

/**
 * Runs a sequence forward, inverts it, and compares its gradients (for the loss Σ c·y with the given cotangents) with
 * stored backpropagation of the same sequence. Nothing else is assumed of the branches than determinism.
 * Streams are float or fixed-point; floats are taken to the grid first, as the sequence itself would. Gradients that the
 * parameters hold are freed.
 */
export async function checkReversible(
  sequence: ReversibleSequence,
  inputs: Streams,
  cotangents: Streams,
  { key }: CheckOptions = {},
): Promise<ReversibilityReport> {
  const { engine } = inputs[0];
  const scope = engine.openScope("checkReversible");
  const mode = sequence.mode;
  try {
    const reconstruction = new BitComparison();
    const isGrid = storedTwin(mode) === "store";
    const streams = inputs.map((x) => (isGrid && x.dtype !== "i32" ? x.quantise(sequence.fractionBits) : x.detach()));
    const outputs = keyed(engine, key, () => engine.noGrad(() => sequence.call(streams[0]!, streams[1]!)));
    const back = keyed(engine, key, () => sequence.inverse(outputs[0]!, outputs[1]!));
    for (const [i, x] of streams.entries()) reconstruction.add(`stream ${i}`, await back[i]!.data(), await x.data());

    const gradients = new BitComparison();
    const found = await pass(sequence, mode, inputs, cotangents, key);
    const expected = await pass(sequence, storedTwin(mode), inputs, cotangents, key);
    compareGradients(gradients, found, expected);
    return {
      reconstructionBitEqual: reconstruction.isEqual,
      reconstructionRelativeError: reconstruction.relativeError,
      gradientsBitEqual: gradients.isEqual,
      gradientRelativeError: gradients.relativeError,
      elementsCompared: reconstruction.elements + gradients.elements,
      firstDifference: reconstruction.firstDifference ?? gradients.firstDifference,
    };
  } finally {
    sequence.mode = mode;
    scope.close();
  }
}

const keyed = <T>(engine: Engine, key: Key | undefined, f: () => T): T =>
  key === undefined ? f() : engine.withKey(key, f);

/** One forward and backward in a mode: parameter gradients by name, and the inputs' as "input 0" and "input 1". */
async function pass(
  sequence: ReversibleSequence,
  mode: ReversibleMode,
  inputs: Streams,
  cotangents: Streams,
  key: Key | undefined,
): Promise<Map<string, HostData | undefined>> {
  const { engine } = inputs[0];
  sequence.mode = mode;
  const leaves = inputs.map((x) => floatLeaf(x, sequence.fractionBits));
  await takeGradients(sequence);
  keyed(engine, key, () =>
    engine.scope(() => {
      const outputs = sequence.call(leaves[0]!, leaves[1]!);
      const [a, b] = outputs.map((y, i) => y.mul(cotangents[i]!).sum());
      a!.add(b!).backward();
    }),
  );
  const found = await takeGradients(sequence);
  for (const [i, leaf] of leaves.entries()) found.set(`input ${i}`, await leaf.grad?.data());
  return found;
}

function floatLeaf(x: Tensor, fractionBits: number): Tensor {
  return (x.dtype === "i32" ? x.dequantise(fractionBits) : x.detach()).requireGrad();
}
