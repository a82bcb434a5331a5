import { checkSizes, type LayerOptions, type Module } from "@revnet-zero/nn";
import { defaultEngine, full, type Tensor } from "@revnet-zero/tensor";
import { checkChannels, checkFloats } from "./errors.ts";
import { Bijection, type FlowOutput, perChannel, positionsOf, sameForAll } from "./flowLayer.ts";

export interface ActNormOptions extends LayerOptions {
  readonly channels: number;
  /** Least standard deviation that the first batch is scaled by. Default 1e-3. */
  readonly eps?: number;
}

/**
 * A scale and a shift per channel, `[batch, c, ...]`: y = exp(logScale) · x + shift. Starts as the identity;
 * `initialiseFromData` gives a first batch zero mean and unit variance per channel.
 * Source: Kingma & Dhariwal 2018 (arXiv:1807.03039), section 3.1.
 */
export class ActNorm extends Bijection {
  readonly logScale: Tensor;
  readonly shift: Tensor;
  readonly eps: number;
  #isWaiting = false;

  constructor({ channels, eps = 1e-3, engine = defaultEngine(), dtype = "f32" }: ActNormOptions) {
    super();
    checkSizes("ActNorm", { channels });
    this.logScale = this.parameter(full([channels], 0, { dtype, engine }));
    this.shift = this.parameter(full([channels], 0, { dtype, engine }));
    this.eps = eps;
  }

  /** The next batch that passes sets scale and shift; those after it find them as parameters like any other. */
  initialiseFromNextBatch(): void {
    this.#isWaiting = true;
  }

  override forward(x: Tensor): FlowOutput {
    this.#check(x);
    if (this.#isWaiting) this.#initialise(x);
    const { logScale, shift } = this;
    const value = x.mul(perChannel(logScale.exp(), x)).add(perChannel(shift, x));
    return { value, logDeterminant: sameForAll(x, logScale.sum().mul(positionsOf(x))) };
  }
  protected override invert(y: Tensor): FlowOutput {
    this.#check(y);
    const { logScale, shift } = this;
    const value = y.sub(perChannel(shift, y)).mul(perChannel(logScale.neg().exp(), y));
    return { value, logDeterminant: sameForAll(y, logScale.sum().mul(-positionsOf(y))) };
  }

  #initialise(x: Tensor): void {
    this.#isWaiting = false;
    const { engine } = x;
    engine.scope(() =>
      engine.noGrad(() => {
        const others = x.shape.map((_, d) => d).filter((d) => d !== 1);
        const logScale = x.variance(others).sqrt().maximum(this.eps).log().neg();
        this.shift.assign(x.mean(others).mul(logScale.exp()).neg());
        this.logScale.assign(logScale);
      }),
    );
  }

  #check(x: Tensor): void {
    checkFloats("ActNorm", x);
    checkChannels("ActNorm", x, this.logScale.size);
  }
}

/**
 * Sets every ActNorm inside a module from one batch, first to last as the batch passes through it. Call it once, before
 * training; a batch of some hundred samples gives good statistics.
 */
export function initialiseFromData(module: Module, run: () => unknown): void {
  for (const inner of module.namedModules().values()) if (inner instanceof ActNorm) inner.initialiseFromNextBatch();
  const { engine } = module;
  engine.scope(() => {
    engine.noGrad(run);
  });
}
