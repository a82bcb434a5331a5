import { Module } from "@revnet-zero/nn";
import {
  checkpointAll,
  defaultEngine,
  defineFunction,
  describe,
  type Engine,
  full,
  ShapeError,
  sameShape,
  type Tensor,
  ValueError,
  zeros,
} from "@revnet-zero/tensor";
import { fixedPointArithmetic, floatArithmetic, type StreamArithmetic } from "./arithmetic.ts";
import { type Branch, type HalfStep, halfStepsOf, type ReversibleBlock } from "./block.ts";
import { type BranchRunner, PassContext } from "./context.ts";
import { relativeDrift, sampleStreams } from "./drift.ts";
import { readHealth, type StreamHealth } from "./health.ts";
import { ownStream, runBackward, runForward, runInverse } from "./reconstruct.ts";
import { runStored, runStoredFloat } from "./store.ts";

/**
 * How a sequence gets its activations back in backward:
 * - `exact`: int32 fixed-point streams; activations rebuilt in backward, bit for bit. No extra bytes.
 * - `float`: f32 streams; activations rebuilt up to a drift that is measured (`drift()`).
 * - `store`: the same fixed-point function as `exact` by ordinary backpropagation. Memory grows with depth.
 * - `checkpoint`: the same function again, keeping each block's input streams and running the block twice.
 * - `store-float`: ordinary backpropagation of the `float` function.
 */
export type ReversibleMode = "exact" | "float" | "store" | "checkpoint" | "store-float";

export const reversibleModes: readonly ReversibleMode[] = ["exact", "float", "store", "checkpoint", "store-float"];

/** The mode that computes the same function by ordinary backpropagation: what a mode's gradients are compared with. */
export const storedTwin = (mode: ReversibleMode): "store" | "store-float" =>
  mode === "float" || mode === "store-float" ? "store-float" : "store";

export interface ReversibleSequenceOptions {
  readonly blocks: readonly ReversibleBlock[];
  readonly mode?: ReversibleMode;
  /** Bits after the binary point of the streams. Default 20 (Q12.20): steps of 9.5e-7, range ±2048. */
  readonly fractionBits?: number;
  /** Default: that of the branches' parameters, or the default engine. */
  readonly engine?: Engine;
}

/** The two residual streams, of one shape. */
export type Streams = readonly [Tensor, Tensor];

/**
 * A stack of reversible blocks as ONE node of the graph: what it keeps for backward is its final pair of streams,
 * whatever the depth.
 */
export class ReversibleSequence extends Module {
  readonly blocks: readonly ReversibleBlock[];
  readonly fractionBits: number;
  #mode: ReversibleMode;
  readonly #steps: readonly HalfStep[];
  /** Counts of the last forward pass in mode `exact`, a row a half-step; kept on the device until somebody asks. */
  readonly counts: Tensor;
  /** Relative error of the last reconstruction in mode `float`; NaN before the first. */
  readonly lastDrift: Tensor;

  constructor({ blocks, mode = "exact", fractionBits = 20, engine = engineOf(blocks) }: ReversibleSequenceOptions) {
    super();
    if (!Number.isInteger(fractionBits) || fractionBits < 0 || fractionBits > 30) {
      throw new ValueError("ReversibleSequence", `fractionBits is ${fractionBits}`, "use an integer from 0 to 30");
    }
    this.blocks = blocks;
    this.fractionBits = fractionBits;
    this.#mode = checkMode(mode);
    this.#steps = blocks.flatMap(halfStepsOf);
    const temporary = { isPersistent: false };
    this.counts = this.buffer(zeros([this.#steps.length, 3], { dtype: "i32", engine }), temporary);
    this.lastDrift = this.buffer(full([], Number.NaN, { engine }), temporary);
  }

  get mode(): ReversibleMode {
    return this.#mode;
  }
  /** Takes effect at the next forward pass; parameters and function are the same in every mode but `float`. */
  set mode(mode: ReversibleMode) {
    this.#mode = checkMode(mode);
  }

  /**
   * Float tensors in, float tensors out; or fixed-point (i32) streams in and out, which loses nothing between
   * sequences. Both of one shape.
   */
  override forward(x1: Tensor, x2: Tensor): Tensor[] {
    checkStreams("ReversibleSequence", x1, x2);
    const context = new PassContext(x1.engine, this.#branches());
    const isFloat = x1.dtype !== "i32";
    if (this.#mode === "float") return this.#rebuild([x1, x2], floatArithmetic, context);
    if (this.#mode === "store-float") return runStoredFloat(this.#steps, [x1, x2], context);
    const arithmetic = fixedPointArithmetic(this.fractionBits);
    const streams =
      this.#mode === "exact" ? this.#rebuild([x1, x2], arithmetic, context) : this.#keep([x1, x2], context);
    return isFloat ? streams.map((s) => s.dequantise(this.fractionBits)) : streams;
  }

  /** The input streams of given output streams: bit for bit in exact arithmetic when both are i32 streams. */
  inverse(y1: Tensor, y2: Tensor): Tensor[] {
    checkStreams("inverse", y1, y2);
    const { engine } = y1;
    const arithmetic = this.#arithmetic();
    return engine.scope(() =>
      engine.noGrad(() => {
        const context = new PassContext(engine, this.#branches());
        const streams = [y1, y2].map((y) => ownStream(arithmetic.enter(y)));
        const found = runInverse(engine, this.#steps, streams, arithmetic, context);
        const isFloat = y1.dtype !== "i32" && arithmetic.isExact;
        // The pass owned its streams; what it returns is the caller's scope's, like any result.
        const result = isFloat ? found.map((s) => arithmetic.read(s)) : found.map((s) => engine.adopt(s));
        if (isFloat) for (const s of found) s.dispose();
        return result;
      }),
    );
  }

  /** What the last forward pass in mode `exact` counted: saturated and NaN increments, wrapped sums. */
  health(): Promise<StreamHealth> {
    return readHealth(this.counts);
  }

  /** Relative error of the last reconstruction in mode `float`, over a sample of the input streams. */
  drift(): Promise<number> {
    return this.lastDrift.item();
  }

  #arithmetic(): StreamArithmetic {
    return storedTwin(this.#mode) === "store-float" ? floatArithmetic : fixedPointArithmetic(this.fractionBits);
  }

  #branches(): Branch[] {
    return this.#steps.map((s) => s.branch);
  }

  #rebuild(inputs: Streams, arithmetic: StreamArithmetic, context: PassContext): Tensor[] {
    const steps = this.#steps;
    const { counts, lastDrift } = this;
    const sequence = defineFunction({
      name: "reversible sequence",
      forward({ engine, save }, ...xs) {
        const streams = xs.map((x) => ownStream(arithmetic.enter(x)));
        const samples = arithmetic.isExact ? [] : sampleStreams(streams);
        const outputs = runForward(engine, steps, streams, arithmetic, context, counts);
        save(...outputs, ...samples);
        return outputs;
      },
      backward(backward, ...gradients) {
        const { engine } = backward;
        const saved = backward.takeSaved();
        const streams = saved.slice(0, 2).map(ownStream);
        const cotangents = gradients.map((g) => (g === undefined ? undefined : takeOver(g)));
        context.again(() => runBackward(backward, steps, streams, cotangents, arithmetic, context));
        if (!arithmetic.isExact) lastDrift.assign(relativeDrift(saved.slice(2), sampleStreams(streams)));
        for (const s of streams) s.dispose();
        for (const c of cotangents) if (c !== undefined) engine.adopt(c);
        return cotangents;
      },
    });
    // Recorded casts, as the stored modes have: a gradient arrives in its input's dtype, rounded the same way.
    const entering = inputs.map((x) => (x.dtype === "i32" ? x : x.cast("f32")));
    const outputs = sequence(...entering);
    for (const x of entering) if (!inputs.includes(x)) x.dispose();
    return outputs;
  }

  #keep(inputs: Streams, context: PassContext): Tensor[] {
    // An alias, so that a stream's gradient is summed up before it joins what else its tensor receives: the same order
    // of additions as in the reconstructing modes, one tensor for both streams included.
    const enter = (x: Tensor): Tensor => (x.dtype === "i32" ? x.alias() : x.cast("f32").quantise(this.fractionBits));
    const streams = inputs.map(enter);
    if (this.#mode === "store") return runStored(this.#steps, streams, this.fractionBits, context);
    let current: Tensor[] = streams;
    for (let first = 0; first < this.#steps.length; first += 2) {
      const block = this.#steps.slice(first, first + 2);
      const shifted: BranchRunner = { run: (i, f) => context.run(first + i, f) };
      const before = current;
      current = checkpointAll((...xs) => context.again(() => runStored(block, xs, this.fractionBits, shifted)), before);
      if (first > 0) for (const s of before) s.dispose();
    }
    return current;
  }
}

function engineOf(blocks: readonly ReversibleBlock[]): Engine {
  const modules = blocks.flatMap(({ F, G }) => [F, G]).filter((b) => b instanceof Module);
  return modules.flatMap((m) => m.parameters())[0]?.engine ?? defaultEngine();
}

/** The pass's own handle on a gradient; the walk's is given up, so that sums can be made in place. */
function takeOver(gradient: Tensor): Tensor {
  const own = gradient.engine.keep(gradient.detach());
  gradient.dispose();
  return own;
}

function checkMode(mode: ReversibleMode): ReversibleMode {
  if (reversibleModes.includes(mode)) return mode;
  throw new ValueError("ReversibleSequence", `unknown mode "${mode}"`, `use one of ${reversibleModes.join(", ")}`);
}

function checkStreams(op: string, a: Tensor, b: Tensor): void {
  if (sameShape(a.shape, b.shape) && (a.dtype === "i32") === (b.dtype === "i32")) return;
  throw new ShapeError(
    op,
    `the two streams differ: ${describe(a)} and ${describe(b)}`,
    "both must have one shape, and be floats or fixed-point streams alike",
  );
}
