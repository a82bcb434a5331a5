import { ops, type Tensor } from "@revnet-zero/tensor";
import type { LayerNorm } from "./layerNorm.ts";
import { Module } from "./module.ts";
import type { RMSNorm } from "./rmsNorm.ts";

export type Norm = LayerNorm | RMSNorm;

/**
 * A residual branch that begins with a norm: `forward(x)` is body(norm(x)). Who sums into the stream it reads can compute the norm
 * in the same pass (`addNorm`) and go on with `afterNorm`: the same bits, less memory traffic.
 */
export abstract class PreNormBranch extends Module {
  abstract readonly norm: Norm;
  /** What follows the norm; `rest` is what `forward` was given after x (a mask, an encoder's memory). */
  // biome-ignore lint/suspicious/noExplicitAny: every branch takes what it knows of.
  protected abstract body(normalised: Tensor, ...rest: any[]): Tensor;

  override forward(x: Tensor, ...rest: unknown[]): Tensor {
    return this.body(this.norm.call(x), ...rest);
  }

  /** The branch from its norm's result on. */
  afterNorm(normalised: Tensor, ...rest: unknown[]): Tensor {
    return this.within(normalised.engine, () => this.body(normalised, ...rest));
  }
}

/** The sum of a stream and an increment `[..., dim]`, and the norm of that sum. */
export function addNorm(
  norm: Norm,
  x: Tensor,
  increment: Tensor,
): { readonly sum: Tensor; readonly normalised: Tensor } {
  const inputs = [x, increment, ...norm.operands];
  const [sum, normalised, ...statistics] = x.applyAll(ops.addNorm, inputs, { eps: norm.eps });
  for (const t of statistics) t.dispose();
  return { sum: sum!, normalised: normalised! };
}
