import {
  defaultEngine,
  describe,
  type Engine,
  full,
  normalizeAxis,
  ShapeError,
  type Tensor,
  ValueError,
} from "@revnet-zero/tensor";
import { Module } from "./module.ts";
import { checkSizes, type LayerOptions } from "./options.ts";

export interface BatchNormOptions extends LayerOptions {
  /** Number of channels. */
  readonly dim: number;
  /** Where the channels are. Default 1: `[batch, dim, ...]`. */
  readonly axis?: number;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Share of a batch in the running statistics. Default 0.1. */
  readonly momentum?: number;
}

/**
 * (x - mean) / sqrt(variance + eps) · weight + bias, every channel over all its elements in the batch; in eval, with the
 * running statistics that training has collected (the variance without bias). They are updated once a forward pass: a
 * second run of it in backward, in a checkpoint or a reversible sequence, leaves them alone.
 * Source: Ioffe & Szegedy 2015 (arXiv:1502.03167), algorithms 1 and 2.
 */
export class BatchNorm extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly runningMean: Tensor;
  readonly runningVariance: Tensor;
  readonly dim: number;
  readonly axis: number;
  readonly eps: number;
  readonly momentum: number;

  constructor(options: BatchNormOptions) {
    super();
    const { dim, axis = 1, eps = 1e-5, momentum = 0.1, engine = defaultEngine(), dtype = "f32" } = options;
    checkSizes("BatchNorm", { dim });
    if (!(momentum >= 0 && momentum <= 1))
      throw new ValueError("BatchNorm", `momentum is ${momentum}`, "use a number from 0 to 1");
    this.weight = this.parameter(full([dim], 1, { dtype, engine }));
    this.bias = this.parameter(full([dim], 0, { dtype, engine }));
    this.runningMean = this.buffer(full([dim], 0, { dtype, engine }));
    this.runningVariance = this.buffer(full([dim], 1, { dtype, engine }));
    this.dim = dim;
    this.axis = axis;
    this.eps = eps;
    this.momentum = momentum;
  }

  override forward(x: Tensor): Tensor {
    const axis = normalizeAxis("BatchNorm", this.axis, x.rank);
    if (x.shape[axis] !== this.dim) {
      throw new ShapeError(
        "BatchNorm",
        `axis ${axis} of ${describe(x)} is not ${this.dim} channels long`,
        "pass axis: -1 for channels in the last axis",
      );
    }
    // A value a channel, beside the other axes: [dim] -> [1, dim, 1, ...].
    const along = (t: Tensor): Tensor => t.reshape(x.shape.map((_, d) => (d === axis ? this.dim : 1)));
    const [mean, variance] = this.training ? this.#statistics(x, axis) : this.#running(x.engine);
    const scaled = x.sub(along(mean)).mul(along(variance.add(this.eps).rsqrt().mul(this.weight)));
    return scaled.add(along(this.bias));
  }

  /** Mean and variance of a batch, noted in the running ones. */
  #statistics(x: Tensor, axis: number): readonly [Tensor, Tensor] {
    const others = x.shape.flatMap((_, d) => (d === axis ? [] : [d]));
    const count = x.size / this.dim;
    const [mean, variance] = [x.mean(others), x.variance(others)];
    const { engine } = x;
    const { momentum } = this;
    if (!engine.isReplay) {
      engine.noGrad(() => {
        const note = (running: Tensor, now: Tensor): Tensor =>
          running.assign(running.mul(1 - momentum).add(now.mul(momentum)));
        note(this.runningMean, mean);
        note(this.runningVariance, variance.mul(count / Math.max(count - 1, 1)));
      });
    }
    return [mean, variance];
  }

  /** A second run must find them as the first did: they are kept, and an update in between is an error. */
  #running(engine: Engine): readonly [Tensor, Tensor] {
    return [engine.remember(() => this.runningMean), engine.remember(() => this.runningVariance)];
  }
}
