import type { ReversibleMode } from "@revnet-zero/reversible";
import { type Engine, type Key, ValueError } from "@revnet-zero/tensor";
import type { AttentionMaker, BranchOptions } from "./branches.ts";

/** The shape of a decoder language model. Options that have a default may be left out of `ReversibleTransformer`. */
export interface TransformerOptions {
  /** Number of tokens. Default 256: bytes. */
  readonly vocabSize?: number;
  readonly numLayers: number;
  /** Width of the residual stream. */
  readonly dModel: number;
  readonly numHeads: number;
  /** Heads of keys and values; fewer than numHeads is grouped-query attention. Default numHeads. */
  readonly numKeyValueHeads?: number;
  /** Longest sequence, in tokens. */
  readonly maxSeqLen: number;
  /** Width of the MLP's hidden layer over its input's. Default 4. */
  readonly mlpRatio?: number;
  readonly mlp?: "gelu" | "geglu" | "swiglu";
  readonly norm?: "layer" | "rms";
  readonly positions?: "rotary" | "learned";
  /** Probability of zeroing an element of a branch's output while training. Default 0. */
  readonly dropout?: number;
  /** One matrix for embedding and prediction. Default true. */
  readonly tieEmbeddings?: boolean;
  /** Makes the attention layers, such as `HierarchicalReversibleAttention` for long sequences. Default: softmax attention. */
  readonly attention?: AttentionMaker;
  /** Tokens that pass through an MLP at a time, and again in backward: no `[time, mlpRatio · dModel]` tensor exists. Default: all. */
  readonly feedForwardTokens?: number;
  /** Key of the initial parameters. */
  readonly key: Key;
  readonly engine?: Engine;
}

export interface ReversibleTransformerOptions extends TransformerOptions {
  /** How activations come back in backward. Default `exact`. */
  readonly reversibility?: ReversibleMode;
  /** Two streams of width dModel (`full`), or of half of it (`split`). Default `full`. */
  readonly streams?: "full" | "split";
  /** Bits after the point of fixed-point streams, or "auto" to measure. Default 20 for int32 streams, measured for the others. */
  readonly fractionBits?: number | "auto" | undefined;
}

/** Options with their defaults filled in and checked. */
export type ResolvedOptions = Required<Omit<TransformerOptions, Open>> & Pick<TransformerOptions, Open>;
/** What may stay open. */
type Open = "engine" | "attention" | "feedForwardTokens";

/** What the options that are words may be. */
const choices = {
  mlp: ["gelu", "geglu", "swiglu"],
  norm: ["layer", "rms"],
  positions: ["rotary", "learned"],
} as const satisfies { readonly [K in "mlp" | "norm" | "positions"]: readonly ResolvedOptions[K][] };

/** An unknown word must not pass for the other choice of a pair. */
export function checkChoice(model: string, name: string, value: string, among: readonly string[]): void {
  if (!among.includes(value)) throw new ValueError(model, `${name} is "${value}"`, `use one of ${among.join(", ")}`);
}

/** Throws unless every named size is a positive integer. */
export function checkPositive(model: string, sizes: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(sizes)) {
    if (!Number.isInteger(value) || value < 1)
      throw new ValueError(model, `${name} is ${value}`, "use a positive integer");
  }
}

/** Without a key there are no initial parameters. */
export function checkKey(model: string, key: Key | undefined): void {
  if (key === undefined)
    throw new ValueError(model, "there is no key for the initial parameters", "pass key: randomKey(seed)");
}

export function resolveOptions(model: string, options: TransformerOptions): ResolvedOptions {
  const resolved = {
    vocabSize: 256,
    mlpRatio: 4,
    mlp: "gelu",
    norm: "layer",
    positions: "rotary",
    dropout: 0,
    tieEmbeddings: true,
    ...options,
    numKeyValueHeads: options.numKeyValueHeads ?? options.numHeads,
  } as const;
  const { vocabSize, numLayers, dModel, numHeads, numKeyValueHeads, maxSeqLen } = resolved;
  checkPositive(model, { vocabSize, numLayers, dModel, numHeads, numKeyValueHeads, maxSeqLen });
  for (const [name, among] of Object.entries(choices))
    checkChoice(model, name, resolved[name as keyof typeof choices], among);
  checkKey(model, resolved.key);
  return resolved;
}

/** Checks that the MLP of a stream has a channel. */
export function checkMlp(model: string, width: number, { mlpRatio }: BranchOptions): void {
  if (Number.isFinite(mlpRatio) && Math.round(width * mlpRatio) > 0) return;
  throw new ValueError(
    model,
    `mlpRatio is ${mlpRatio}: a stream of width ${width} would have no channel in its MLP`,
    `use a ratio of at least 1 / ${width}, such as 4`,
  );
}

/** Checks that a width divides into heads, evenly for rotary positions. */
export function checkHeads(
  model: string,
  width: number,
  { numHeads, numKeyValueHeads, positions }: BranchOptions,
): void {
  const dim = width / numHeads;
  if (!Number.isInteger(dim)) {
    throw new ValueError(
      model,
      `a stream of width ${width} does not divide into ${numHeads} heads`,
      "make the width a multiple of numHeads",
    );
  }
  if (numHeads % numKeyValueHeads !== 0) {
    throw new ValueError(
      model,
      `${numHeads} heads cannot share ${numKeyValueHeads} key and value heads`,
      "numKeyValueHeads must divide numHeads",
    );
  }
  if (positions === "rotary" && dim % 2 !== 0) {
    throw new ValueError(
      model,
      `rotary positions turn pairs, a head has ${dim} coordinates`,
      "use an even width per head, or learned positions",
    );
  }
}
