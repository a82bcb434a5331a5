import {
  Attention,
  CrossAttention,
  callInChunks,
  Dropout,
  type Initializer,
  LayerNorm,
  MLP,
  type MLPKind,
  type Norm,
  PreNormBranch,
  RMSNorm,
  type SelfAttentionOptions,
} from "@revnet-zero/nn";
import { type Engine, foldKey, type Key, type Tensor } from "@revnet-zero/tensor";

/** Place of the blocks in the key derivation of a model's parameters. */
const BLOCKS = 3;
/** What the parameters of a layer follow from. */
export const layerKey = (model: Key, layer: number): Key => foldKey(foldKey(model, BLOCKS), layer);

/** Places in the key derivation of a block's parameters. */
const ATTENTION = 0;
const FEED_FORWARD = 1;
const MEMORY = 2;

/** Makes an attention layer of a model: any that maps `[batch, time, dim]` to itself. */
export type AttentionMaker = (options: SelfAttentionOptions) => Attention;

export interface NormOptions {
  readonly norm: "layer" | "rms";
  /** Added to the variance. Default: the norm's own. */
  readonly normEps?: number;
  readonly engine?: Engine | undefined;
}

/** What the branches of a transformer are built from, whatever the model around them. */
export interface BranchOptions extends NormOptions {
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  readonly positions: "rotary" | "learned";
  /** Default true. */
  readonly isCausal?: boolean;
  readonly mlp: MLPKind;
  readonly mlpRatio: number;
  readonly dropout: number;
  /** Default: softmax attention, `new Attention(options)`. */
  readonly attention?: AttentionMaker | undefined;
  /** Tokens that pass through the MLP at a time. Default: all. */
  readonly feedForwardTokens?: number | undefined;
  /** Distribution of the weights. Default: GPT-2's, normal(0.02), less for projections back into the stream. */
  readonly init?: Initializer;
}

export function normOf(width: number, { norm, normEps, engine }: NormOptions): Norm {
  const options = {
    dim: width,
    ...(normEps === undefined ? {} : { eps: normEps }),
    ...(engine === undefined ? {} : { engine }),
  };
  return norm === "layer" ? new LayerNorm(options) : new RMSNorm(options);
}

/** dropout(attention(norm(x))): `[batch, time, width]` in and out. */
export class AttentionBranch extends PreNormBranch {
  override readonly norm: Norm;
  readonly attention: Attention;
  readonly dropout: Dropout;

  constructor(width: number, options: BranchOptions, key: Key) {
    super();
    const { numHeads, numKeyValueHeads, positions, isCausal = true, dropout, numLayers, init, engine } = options;
    this.norm = normOf(width, options);
    const make = options.attention ?? ((given) => new Attention(given));
    this.attention = make({
      dim: width,
      numHeads,
      numKeyValueHeads,
      rotary: positions === "rotary",
      isCausal,
      ...(init === undefined ? { layers: numLayers } : { init }),
      key: foldKey(key, ATTENTION),
      ...(engine === undefined ? {} : { engine }),
    });
    this.dropout = new Dropout(dropout);
  }

  protected override body(normalised: Tensor): Tensor {
    return this.dropout.call(this.attention.call(normalised));
  }
}

/** dropout(attention of norm(x) to a memory): `[batch, time, width]` in and out, memory `[batch, places, dModel]`. */
export class MemoryBranch extends PreNormBranch {
  override readonly norm: Norm;
  readonly attention: CrossAttention;
  readonly dropout: Dropout;

  constructor(width: number, options: BranchOptions & { readonly memoryDim: number }, key: Key) {
    super();
    const { numHeads, numKeyValueHeads, memoryDim, dropout, numLayers, init, engine } = options;
    this.norm = normOf(width, options);
    this.attention = new CrossAttention({
      dim: width,
      memoryDim,
      numHeads,
      numKeyValueHeads,
      ...(init === undefined ? { layers: numLayers } : { init }),
      key: foldKey(key, MEMORY),
      ...(engine === undefined ? {} : { engine }),
    });
    this.dropout = new Dropout(dropout);
  }

  protected override body(normalised: Tensor, memory: Tensor): Tensor {
    return this.dropout.call(this.attention.call(normalised, memory));
  }
}

/** dropout(mlp(norm(x))): `[batch, time, width]` in and out. */
export class FeedForwardBranch extends PreNormBranch {
  override readonly norm: Norm;
  readonly mlp: MLP;
  readonly dropout: Dropout;
  readonly #tokens: number | undefined;

  constructor(width: number, options: BranchOptions, key: Key) {
    super();
    this.#tokens = options.feedForwardTokens;
    const { mlp, mlpRatio, dropout, numLayers, init, engine } = options;
    this.norm = normOf(width, options);
    this.mlp = new MLP({
      dim: width,
      hidden: Math.round(width * mlpRatio),
      kind: mlp,
      ...(init === undefined ? { layers: numLayers } : { init }),
      key: foldKey(key, FEED_FORWARD),
      ...(engine === undefined ? {} : { engine }),
    });
    this.dropout = new Dropout(dropout);
  }

  protected override body(normalised: Tensor): Tensor {
    const size = this.#tokens;
    const y = size === undefined ? this.mlp.call(normalised) : callInChunks(this.mlp, normalised, { size });
    return this.dropout.call(y);
  }
}

/** The two branches of every layer, on a stream of the given width; a layer's parameters follow from key and number. */
export function branchesOf(
  width: number,
  options: BranchOptions & { readonly key: Key },
): { readonly F: AttentionBranch; readonly G: FeedForwardBranch }[] {
  return Array.from({ length: options.numLayers }, (_, layer) => {
    const key = layerKey(options.key, layer);
    return { F: new AttentionBranch(width, options, key), G: new FeedForwardBranch(width, options, key) };
  });
}
