import { Module } from "@revnet-zero/nn";
import {
  type CreateOptions,
  type DType,
  defaultEngine,
  describe,
  type Engine,
  full,
  type Key,
  type RandomOptions,
  randomNormal,
  randomUniform,
  type Shape,
  ShapeError,
  sameShape,
  type Tensor,
} from "@revnet-zero/tensor";
import { sumOfSample } from "./flowLayer.ts";

export interface DistributionOptions extends CreateOptions {
  /** Shape of one sample. */
  readonly shape: Shape;
}

/** A distribution of samples of one shape: what a flow takes data to. */
export abstract class Distribution extends Module {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly #engine: Engine;

  constructor({ shape, dtype = "f32", engine = defaultEngine() }: DistributionOptions) {
    super();
    this.shape = shape;
    this.dtype = dtype;
    this.#engine = engine;
  }

  /** log p of every sample in nats: `[batch, ...shape]` -> `[batch]`. */
  override forward(z: Tensor): Tensor {
    if (!sameShape(z.shape.slice(1), this.shape)) {
      const wanted = ["batch", ...this.shape].join(", ");
      throw new ShapeError(this.constructor.name, `cannot take ${describe(z)}`, `give [${wanted}]`);
    }
    return sumOfSample(this.elementwiseLogProbability(z));
  }

  /** n independent samples, `[n, ...shape]`; the same for the same key. */
  sample(n: number, key: Key): Tensor {
    const options = { key, dtype: this.dtype, engine: this.#engine };
    return this.within(this.#engine, () => this.draw([n, ...this.shape], options));
  }

  protected abstract elementwiseLogProbability(z: Tensor): Tensor;
  protected abstract draw(shape: Shape, options: Required<RandomOptions>): Tensor;
}

const logRoot2Pi = 0.5 * Math.log(2 * Math.PI);

/** Independent normal elements, mean 0, variance 1. */
export class StandardNormal extends Distribution {
  protected override elementwiseLogProbability(z: Tensor): Tensor {
    return z.square().mul(-0.5).sub(logRoot2Pi);
  }
  protected override draw(shape: Shape, options: Required<RandomOptions>): Tensor {
    return randomNormal(shape, options);
  }
}

/**
 * Independent logistic elements, mean 0, scale 1: heavier tails than the normal's.
 * Source: Dinh et al. 2014 (arXiv:1410.8516), section 3.4: log p = -log(1 + e^z) - log(1 + e^-z).
 */
export class StandardLogistic extends Distribution {
  protected override elementwiseLogProbability(z: Tensor): Tensor {
    return z.softplus().add(z.neg().softplus()).neg();
  }
  protected override draw(shape: Shape, options: Required<RandomOptions>): Tensor {
    // Above 0, so that its logarithm is finite; randomUniform stays below 1.
    const u = randomUniform(shape, { ...options, low: 2 ** -24, high: 1 });
    return u.log().sub(u.neg().log1p());
  }
}

/** Independent normal elements of learned mean and standard deviation, which start at 0 and 1. */
export class DiagonalNormal extends Distribution {
  readonly mean: Tensor;
  readonly logDeviation: Tensor;

  constructor(options: DistributionOptions) {
    super(options);
    const { shape, dtype = "f32", engine = defaultEngine() } = options;
    this.mean = this.parameter(full(shape, 0, { dtype, engine }));
    this.logDeviation = this.parameter(full(shape, 0, { dtype, engine }));
  }
  protected override elementwiseLogProbability(z: Tensor): Tensor {
    const standard = z.sub(this.mean).mul(this.logDeviation.neg().exp());
    return standard.square().mul(-0.5).sub(logRoot2Pi).sub(this.logDeviation);
  }
  protected override draw(shape: Shape, options: Required<RandomOptions>): Tensor {
    return randomNormal(shape, options).mul(this.logDeviation.exp()).add(this.mean);
  }
}
