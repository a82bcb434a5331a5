import { BatchNorm, Conv2d, Dropout, GroupNorm, Module } from "@revnet-zero/nn";
import { type Engine, foldKey, type Key, type Tensor } from "@revnet-zero/tensor";

export type ImageNorm = "group" | "batch";

export const imageNormOf = (norm: ImageNorm, channels: number, engine: Engine): GroupNorm | BatchNorm =>
  norm === "group" ? new GroupNorm({ dim: channels, engine }) : new BatchNorm({ dim: channels, engine });

export interface ConvBranchOptions {
  readonly channels: number;
  /** Channels between the two convolutions. */
  readonly hidden: number;
  readonly norm: ImageNorm;
  readonly dropout: number;
  readonly key: Key;
  readonly engine: Engine;
}

/**
 * conv(relu(norm(conv(relu(norm(x)))))) with kernels of 3 x 3: `[batch, channels, h, w]` in and out.
 * Source: He et al. 2016 (arXiv:1603.05027), figure 4e (full pre-activation).
 */
export class ConvBranch extends Module {
  readonly norm: GroupNorm | BatchNorm;
  readonly conv: Conv2d;
  readonly innerNorm: GroupNorm | BatchNorm;
  readonly outConv: Conv2d;
  readonly dropout: Dropout;

  constructor({ channels, hidden, norm, dropout, key, engine }: ConvBranchOptions) {
    super();
    this.norm = imageNormOf(norm, channels, engine);
    // A norm takes the mean off again, so a bias before it would do nothing.
    this.conv = new Conv2d({ in: channels, out: hidden, bias: false, key: foldKey(key, 0), engine });
    this.innerNorm = imageNormOf(norm, hidden, engine);
    this.outConv = new Conv2d({ in: hidden, out: channels, key: foldKey(key, 1), engine });
    this.dropout = new Dropout(dropout);
  }

  override forward(x: Tensor): Tensor {
    const inner = this.conv.call(this.norm.call(x).relu());
    return this.dropout.call(this.outConv.call(this.innerNorm.call(inner).relu()));
  }
}
