import { Attention, Dropout, LayerNorm, MLP, type Norm, PreNormBranch, RMSNorm } from "@revnet-zero/nn";
import { foldKey, type Key, type Tensor } from "@revnet-zero/tensor";
import type { ResolvedOptions } from "./options.ts";

/** Places in the key derivation of a block's parameters. */
const ATTENTION = 0;
const FEED_FORWARD = 1;

function normOf(width: number, { norm, engine }: ResolvedOptions): Norm {
  const options = engine === undefined ? { dim: width } : { dim: width, engine };
  return norm === "layer" ? new LayerNorm(options) : new RMSNorm(options);
}

/** dropout(attention(norm(x))): `[batch, time, width]` in and out. */
export class AttentionBranch extends PreNormBranch {
  override readonly norm: Norm;
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

  protected override body(normalised: Tensor): Tensor {
    return this.dropout.call(this.attention.call(normalised));
  }
}

/** dropout(mlp(norm(x))): `[batch, time, width]` in and out. */
export class FeedForwardBranch extends PreNormBranch {
  override readonly norm: Norm;
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

  protected override body(normalised: Tensor): Tensor {
    return this.dropout.call(this.mlp.call(normalised));
  }
}
