import { type Tensor, ValueError } from "@revnet-zero/tensor";
import type { StoredArithmetic, StreamArithmetic } from "./arithmetic/arithmetic.ts";
import { fixedPointArithmetic, storedFixedPoint } from "./arithmetic/fixedPoint.ts";
import { floatArithmetic, storedFloat } from "./arithmetic/float.ts";
import { gridArithmetic, storedGrid } from "./arithmetic/grid.ts";
import { losslessArithmetic } from "./arithmetic/lossless.ts";
import { narrowArithmetic, storedNarrow } from "./arithmetic/narrow.ts";
import { NARROW_BITS, type NumberFormat } from "./binaryPoint.ts";
import { type BlockPolicy, losslessPolicies } from "./plan.ts";

/** What a mode's arithmetic may depend on. */
export interface ArithmeticOptions {
  readonly fractionBits: number;
  /** Units a value of 1 has in narrow streams: [] or [channels]. */
  readonly scales: Tensor;
  /** Whether couplings multiply streams by other than whole numbers. */
  readonly hasScales: boolean;
}

/**
 * How a sequence gets its activations back in backward. All but `float` rebuild them bit for bit:
 * - `exact`: int32 fixed-point streams; no extra bytes (couplings that scale a stream keep what a factor takes away).
 * - `exact16`: int16 fixed-point streams with a power-of-two scale a channel, chosen by `calibrate`: half the bytes.
 * - `grid-f32`: the same in float32 numbers on a grid, for backends without integers; exact while in range.
 * - `lossless`: f32 streams as in `float`, with a little more than two bits an element and step kept.
 * - `float`: f32 streams; activations rebuilt up to a drift that is measured (`drift()`), and bounded by anchors.
 * And by ordinary backpropagation, whose memory grows with depth:
 * - `store`, `store-exact16`, `store-grid-f32`: the functions of `exact`, `exact16` and `grid-f32`;
 * - `store-float`: that of `float` and `lossless`;
 * - `checkpoint`: that of `exact`, keeping each block's input streams and running the block twice.
 */
export type ReversibleMode =
  | "exact"
  | "exact16"
  | "grid-f32"
  | "lossless"
  | "float"
  | "store"
  | "store-exact16"
  | "store-grid-f32"
  | "store-float"
  | "checkpoint";

export interface ModeDefinition extends NumberFormat {
  readonly arithmetic: (options: ArithmeticOptions) => StreamArithmetic;
  /** The same function by recorded ops. */
  readonly stored: (options: ArithmeticOptions) => StoredArithmetic;
  /** What is done with every block; a plan replaces `reconstruct` block by block. */
  readonly policy: BlockPolicy;
  /** The mode that computes the same function by ordinary backpropagation. */
  readonly twin: ReversibleMode;
}

type FunctionOfMode = Omit<ModeDefinition, "policy">;
const fixedPoint: FunctionOfMode = {
  arithmetic: fixedPointArithmetic,
  stored: storedFixedPoint,
  twin: "store",
  magnitudeBits: 31,
  usualFractionBits: 20,
};
const narrow: FunctionOfMode = {
  arithmetic: narrowArithmetic,
  stored: storedNarrow,
  twin: "store-exact16",
  magnitudeBits: NARROW_BITS,
};
const grid: FunctionOfMode = {
  arithmetic: gridArithmetic,
  stored: storedGrid,
  twin: "store-grid-f32",
  magnitudeBits: 24,
};
const float: FunctionOfMode = { arithmetic: () => floatArithmetic, stored: () => storedFloat, twin: "store-float" };

export const modes: { readonly [M in ReversibleMode]: ModeDefinition } = {
  exact: { ...fixedPoint, policy: "reconstruct" },
  exact16: { ...narrow, policy: "reconstruct" },
  "grid-f32": { ...grid, policy: "reconstruct" },
  lossless: { ...float, arithmetic: () => losslessArithmetic, policy: "reconstruct" },
  float: { ...float, policy: "reconstruct" },
  store: { ...fixedPoint, policy: "store" },
  "store-exact16": { ...narrow, policy: "store" },
  "store-grid-f32": { ...grid, policy: "store" },
  "store-float": { ...float, policy: "store" },
  checkpoint: { ...fixedPoint, policy: "checkpoint" },
};

export const reversibleModes: readonly ReversibleMode[] = Object.keys(modes) as ReversibleMode[];

/** The mode that computes the same function by ordinary backpropagation: what a mode's gradients are compared with. */
export const storedTwin = (mode: ReversibleMode): ReversibleMode => modes[mode].twin;

/** The policies that a planner may choose in this mode, without being asked for one: anchors are of use where rebuilt streams drift. */
export function policiesOf(mode: ReversibleMode): readonly BlockPolicy[] {
  const { policy } = modes[mode];
  if (policy !== "reconstruct") return [policy];
  return losslessPolicies.filter((p) => p !== "anchor" || mode === "float");
}

export function checkMode(mode: ReversibleMode): ReversibleMode {
  if (Object.hasOwn(modes, mode)) return mode;
  throw new ValueError("ReversibleSequence", `unknown mode "${mode}"`, `use one of ${reversibleModes.join(", ")}`);
}
