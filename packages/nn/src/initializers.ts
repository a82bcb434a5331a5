import {
  type DType,
  type Engine,
  full,
  type Key,
  randomNormal,
  randomUniform,
  type Shape,
  type Tensor,
} from "@revnet-zero/tensor";

export interface InitializerOptions {
  readonly key: Key;
  readonly dtype: DType;
  readonly engine: Engine;
}

/** First values of a parameter. A function of shape and key alone: same key, same bits. */
export type Initializer = (shape: Shape, options: InitializerOptions) => Tensor;

/** Inputs and outputs of one unit: a weight is [out, in, ...receptive field]. */
function fans(shape: Shape): { readonly fanIn: number; readonly fanOut: number } {
  const [out = 1, inputs = 1, ...field] = shape;
  const area = field.reduce((n, s) => n * s, 1);
  return { fanIn: inputs * area, fanOut: out * area };
}

/** Every element `value`. */
export const constant =
  (value: number): Initializer =>
  (shape, { dtype, engine }) =>
    full(shape, value, { dtype, engine });

/** Normal with mean 0. The default 0.02 is the one of GPT. Source: Radford et al. 2018, section 4.1. */
export const normal =
  (std = 0.02): Initializer =>
  (shape, options) =>
    randomNormal(shape, { ...options, std });

/** Uniform in [-bound, bound). */
export const uniform =
  (bound: number): Initializer =>
  (shape, options) =>
    randomUniform(shape, { ...options, low: -bound, high: bound });

/**
 * Normal with std / sqrt(2 · layers), for projections back into the residual stream: a depth of `layers` blocks adds
 * 2 · layers of them, and the stream's variance stays that of one. Source: Radford et al. 2019 (GPT-2), section 2.3.
 */
export const residualNormal = (layers: number, std = 0.02): Initializer => normal(std / Math.sqrt(2 * layers));

/**
 * Uniform with bound sqrt(6 / (in + out)): keeps variances of activations and gradients through linear layers.
 * Source: Glorot & Bengio 2010, eq. 16.
 */
export const xavierUniform = (): Initializer => (shape, options) => {
  const { fanIn, fanOut } = fans(shape);
  return uniform(Math.sqrt(6 / (fanIn + fanOut)))(shape, options);
};

/**
 * Uniform with bound sqrt(6 / ((1 + slope²) · in)): keeps the variance through a rectifier that lets `slope` of the
 * negative half pass. Source: He et al. 2015 (arXiv:1502.01852), eq. 15.
 */
export const kaimingUniform =
  (slope = 0): Initializer =>
  (shape, options) =>
    uniform(Math.sqrt(6 / ((1 + slope * slope) * fans(shape).fanIn)))(shape, options);
