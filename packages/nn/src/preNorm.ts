import { type DType, type Engine, ops, type Tensor } from "@revnet-zero/tensor";
import type { LayerNorm } from "./layerNorm.ts";
import { Module } from "./module.ts";
import type { RMSNorm } from "./rmsNorm.ts";

export type Norm = LayerNorm | RMSNorm;

/**
 * The type in which a norm gives its result to matrix products alone: under autocast the one they read, which spares a tensor in
 * float32 and its conversion. The bits are those of converting afterwards.
 */
export const productType = (engine: Engine): DType | undefined => engine.ambient.autocast;

/** A norm's attributes before matrix products. */
export function normAttrs({ eps }: Norm, engine: Engine): { readonly eps: number; readonly to?: DType } {
  const to = productType(engine);
  return to === undefined ? { eps } : { eps, to };
}

/**
 * A residual branch that begins with a norm, whose result only matrix products read: `forward(x)` is body(norm(x)). Who sums into the stream it reads can compute the norm
 * in the same pass (`addNorm`) and go on with `afterNorm`: the same bits, less memory traffic.
 */
export abstract class PreNormBranch extends Module {
  abstract readonly norm: Norm;
  /** What follows the norm; `rest` is what `forward` was given after x (a mask, an encoder's memory). */
  // biome-ignore lint/suspicious/noExplicitAny: every branch takes what it knows of.
  protected abstract body(normalised: Tensor, ...rest: any[]): Tensor;

  override forward(x: Tensor, ...rest: unknown[]): Tensor {
    return this.body(this.norm.call(x, { to: productType(x.engine) }), ...rest);
  }

  /** Runs a part of what its norm does, in either direction, under the norm's name. */
  atNorm<T>(engine: Engine, f: () => T): T {
    return this.within(engine, () => engine.inModule("norm", f));
  }

  /** The branch from its norm's result on. */
  afterNorm(normalised: Tensor, ...rest: unknown[]): Tensor {
    return this.within(normalised.engine, () => this.body(normalised, ...rest));
  }
}

/**
 * A norm before matrix products, and per row its statistics, for `addNormBackward`. With `fractionBits` x is an i32 fixed-point stream, and
 * its value is what is normalised.
 */
export function normalise(norm: Norm, x: Tensor, fractionBits?: number): Tensor[] {
  const operands = [x, ...norm.operands];
  const attrs = normAttrs(norm, x.engine);
  if (fractionBits !== undefined) return x.applyAll(ops.fixedPointNorm, operands, { ...attrs, fractionBits });
  return operands.length === 3 ? x.applyAll(ops.layerNorm, operands, attrs) : x.applyAll(ops.rmsNorm, operands, attrs);
}

/** The sum of a stream and an increment `[..., dim]`, and the norm of that sum. */
export function addNorm(
  norm: Norm,
  x: Tensor,
  increment: Tensor,
): { readonly sum: Tensor; readonly normalised: Tensor } {
  const inputs = [x, increment, ...norm.operands];
  const [sum, normalised, ...statistics] = x.applyAll(ops.addNorm, inputs, normAttrs(norm, x.engine));
  for (const t of statistics) t.dispose();
  return { sum: sum!, normalised: normalised! };
}
