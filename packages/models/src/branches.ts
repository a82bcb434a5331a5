import { Attention, Dropout, LayerNorm, MLP, Module, RMSNorm } from "@revnet-zero/nn";
import { foldKey, type Key, type Tensor } from "@revnet-zero/tensor";
import type { ResolvedOptions } from "./options.ts";

/** Places in the key derivation of a block's parameters. */
const ATTENTION = 0;
const FEED_FORWARD = 1;

function normOf(width: number, { norm, engine }: ResolvedOptions): LayerNorm | RMSNorm {
  const options = engine === undefined ? { dim: width } : { dim: width, engine };
  return norm === "layer" ? new LayerNorm(options) : new RMSNorm(options);
}

/** dropout(attention(norm(x))): `[batch, time, width]` in and out. */
export class AttentionBranch extends Module {
  readonly norm: LayerNorm | RMSNorm;
  readonly attention: Attention;
  readonly dropout: Dropout;

  constructor(width: number, options: ResolvedOptions, key: Key) {
    super();
    const { numHeads, numKeyValueHeads, positions, dropout, numLayers, engine } = options;
    this.norm = normOf(width, options);
    this.attention = new Attention({
      dim: width,
      numHeads,
      numKeyValueHeads,
      rotary: positions === "rotary",
      layers: numLayers,
      key: foldKey(key, ATTENTION),
      ...(engine === undefined ? {} : { engine }),
    });
    this.dropout = new Dropout(dropout);
  }

  override forward(x: Tensor): Tensor {
    return this.dropout.call(this.attention.call(this.norm.call(x)));
  }
}

/** dropout(mlp(norm(x))): `[batch, time, width]` in and out. */
export class FeedForwardBranch extends Module {
  readonly norm: LayerNorm | RMSNorm;
  readonly mlp: MLP;
  readonly dropout: Dropout;

  constructor(width: number, options: ResolvedOptions, key: Key) {
    super();
    const { mlp, mlpRatio, dropout, numLayers, engine } = options;
    this.norm = normOf(width, options);
    this.mlp = new MLP({
      dim: width,
      hidden: Math.round(width * mlpRatio),
      kind: mlp,
      layers: numLayers,
      key: foldKey(key, FEED_FORWARD),
      ...(engine === undefined ? {} : { engine }),
    });
    this.dropout = new Dropout(dropout);
  }

  override forward(x: Tensor): Tensor {
    return this.dropout.call(this.mlp.call(this.norm.call(x)));
  }
}
