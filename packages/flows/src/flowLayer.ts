import { Module } from "@revnet-zero/nn";
import { gradientDType, type Tensor } from "@revnet-zero/tensor";

/** A batch of transformed samples. */
export interface FlowOutput {
  readonly value: Tensor;
  /** log |det ∂value/∂input| of every sample, `[batch]`. */
  readonly logDeterminant: Tensor;
}

/** A layer recorded again on an input that was rebuilt from its output. */
export interface Retraced extends FlowOutput {
  /** The rebuilt input as leaves of the graph: whole, or its parts along axis 1 in order. */
  readonly leaves: readonly Tensor[];
}

/**
 * A bijection of samples: `forward` (run it with `call`) and `inverse`, each with its log-determinant. The first axis is the
 * batch, the second the channels. What inverts exactly on fixed-point streams (i32) takes them too, and says so.
 */
export abstract class FlowLayer extends Module {
  abstract override forward(x: Tensor): FlowOutput;
  /** The inverse of `forward`; its log-determinant is that of the inverse. */
  protected abstract invert(y: Tensor): FlowOutput;
  /** Rebuilds the input that gave y and records the layer on it: what a backward pass without stored activations needs. */
  abstract retrace(y: Tensor): Retraced;

  inverse(y: Tensor): FlowOutput {
    return this.within(y.engine, () => this.invert(y));
  }
}

/** A bijection that is retraced by its inverse. One that shares work between inverse and forward does so itself. */
export abstract class Bijection extends FlowLayer {
  override retrace(y: Tensor): Retraced {
    const { engine } = y;
    const x = engine.noGrad(() => engine.scope(() => this.inverse(y).value)).requireGrad();
    return { ...this.within(engine, () => this.forward(x)), leaves: [x] };
  }
}

/** The log-determinants of a map that keeps volumes: zeros `[batch]`. */
export const keepsVolume = (x: Tensor): Tensor => x.fullOf([x.shape[0]!], 0, gradientDType(x.dtype));

/** The same log-determinant, a scalar, for every sample of x. */
export const sameForAll = (x: Tensor, logDeterminant: Tensor): Tensor =>
  logDeterminant.reshape([1]).expand([x.shape[0]!]);

/** Sums over everything but the batch. */
export const sumOfSample = (x: Tensor): Tensor => x.sum(x.shape.map((_, d) => d).slice(1));

/** Positions behind the channel axis: 1 for vectors, h·w for images. */
export const positionsOf = (x: Tensor): number => x.shape.slice(2).reduce((n, s) => n * s, 1);

/** Per-channel values `[c]` in a shape that broadcasts over `[batch, c, ...]`. */
export const perChannel = (values: Tensor, x: Tensor): Tensor =>
  values.reshape([values.size, ...new Array<number>(x.rank - 2).fill(1)]);

/**
 * matrix() · x along the channels: `[c, c]` and `[batch, c, ...]` -> `[batch, c, ...]`. Not under autocast: a product rounded to
 * 16 bits has no inverse.
 */
export function mixChannels(matrix: () => Tensor, x: Tensor): Tensor {
  const { engine, shape } = x;
  return engine.autocast(undefined, () => {
    if (x.rank === 2) return x.linear(matrix());
    return matrix()
      .matmul(x.reshape([shape[0]!, shape[1]!, -1]))
      .reshape(shape);
  });
}
