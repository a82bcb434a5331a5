import { defaultEngine, full, type Tensor } from "@revnet-zero/tensor";
import { kaimingUniform } from "./initializers.ts";
import { Module } from "./module.ts";
import { checkSizes, type RandomLayerOptions } from "./options.ts";

export interface Conv2dOptions extends RandomLayerOptions {
  /** Channels. */
  readonly in: number;
  readonly out: number;
  /** Side of the kernel in pixels. Default 3. */
  readonly kernelSize?: number;
  /** Default 1. */
  readonly stride?: number;
  /** Zeros around the image. Default (kernelSize - 1) / 2 rounded down: with stride 1 and an odd kernel, the size stays. */
  readonly padding?: number;
  /** Default true, starting at zero. */
  readonly bias?: boolean;
}

/**
 * Cross-correlation `[batch, in, h, w]` -> `[batch, out, h', w']`, with weight `[out, in, kernelSize, kernelSize]`, by default
 * uniform in ±1/sqrt(in · kernelSize²), and bias `[out]`.
 */
export class Conv2d extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly stride: number;
  readonly padding: number;

  constructor(options: Conv2dOptions) {
    super();
    const { in: inputs, out, kernelSize = 3, stride = 1, key, engine = defaultEngine(), dtype = "f32" } = options;
    checkSizes("Conv2d", { in: inputs, out, kernelSize, stride });
    const init = options.init ?? kaimingUniform(Math.sqrt(5));
    this.weight = this.parameter(init([out, inputs, kernelSize, kernelSize], { key, dtype, engine }));
    this.bias = (options.bias ?? true) ? this.parameter(full([out], 0, { dtype, engine })) : undefined;
    this.stride = stride;
    this.padding = options.padding ?? Math.floor((kernelSize - 1) / 2);
  }

  override forward(x: Tensor): Tensor {
    const y = x.conv2d(this.weight, { stride: this.stride, padding: this.padding });
    return this.bias === undefined ? y : y.add(this.bias.reshape([-1, 1, 1]));
  }
}
