import { ValueError } from "@revnet-zero/tensor";
import type { StoredArithmetic, StreamArithmetic } from "./arithmetic/arithmetic.ts";
import { fixedPointArithmetic, storedFixedPoint } from "./arithmetic/fixedPoint.ts";
import { floatArithmetic, storedFloat } from "./arithmetic/float.ts";
import type { BlockPolicy } from "./plan.ts";

/** What a mode's arithmetic may depend on. */
export interface ArithmeticOptions {
  readonly fractionBits: number;
}

/**
 * How a sequence gets its activations back in backward:
 * - `exact`: int32 fixed-point streams; activations rebuilt in backward, bit for bit. No extra bytes.
 * - `float`: f32 streams; activations rebuilt up to a drift that is measured (`drift()`).
 * - `store`: the same fixed-point function as `exact` by ordinary backpropagation. Memory grows with depth.
 * - `checkpoint`: the same function again, keeping each block's input streams and running the block twice.
 * - `store-float`: ordinary backpropagation of the `float` function.
 */
export type ReversibleMode = "exact" | "float" | "store" | "checkpoint" | "store-float";

interface ModeDefinition {
  readonly arithmetic: (options: ArithmeticOptions) => StreamArithmetic;
  /** The same function by recorded ops. */
  readonly stored: (options: ArithmeticOptions) => StoredArithmetic;
  /** What is done with every block; a plan replaces `reconstruct` block by block. */
  readonly policy: BlockPolicy;
  /** The mode that computes the same function by ordinary backpropagation. */
  readonly twin: ReversibleMode;
}

const fixedPoint: Omit<ModeDefinition, "policy"> = {
  arithmetic: ({ fractionBits }) => fixedPointArithmetic(fractionBits),
  stored: ({ fractionBits }) => storedFixedPoint(fractionBits),
  twin: "store",
};
const float: Omit<ModeDefinition, "policy"> = {
  arithmetic: () => floatArithmetic,
  stored: () => storedFloat,
  twin: "store-float",
};

export const modes: { readonly [M in ReversibleMode]: ModeDefinition } = {
  exact: { ...fixedPoint, policy: "reconstruct" },
  float: { ...float, policy: "reconstruct" },
  store: { ...fixedPoint, policy: "store" },
  checkpoint: { ...fixedPoint, policy: "checkpoint" },
  "store-float": { ...float, policy: "store" },
};

export const reversibleModes: readonly ReversibleMode[] = Object.keys(modes) as ReversibleMode[];

/** The mode that computes the same function by ordinary backpropagation: what a mode's gradients are compared with. */
export const storedTwin = (mode: ReversibleMode): ReversibleMode => modes[mode].twin;

export function checkMode(mode: ReversibleMode): ReversibleMode {
  if (Object.hasOwn(modes, mode)) return mode;
  throw new ValueError("ReversibleSequence", `unknown mode "${mode}"`, `use one of ${reversibleModes.join(", ")}`);
}
