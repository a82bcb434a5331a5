import { type Activation, defaultEngine, full, type Tensor } from "@revnet-zero/tensor";
import { kaimingUniform } from "./initializers.ts";
import { Module } from "./module.ts";
import { checkSizes, type LayerOptions, type RandomLayerOptions } from "./options.ts";

interface LinearSettings {
  /** Default true, starting at zero. */
  readonly bias?: boolean;
  /** Fused behind the product. Default "none". */
  readonly activation?: Activation;
}

/** A layer of its own weight, by default uniform in ±1/sqrt(in). */
export interface FreshLinear extends LinearSettings, RandomLayerOptions {
  readonly in: number;
  readonly out: number;
}

/** A layer that shares a weight `[out, in]` with another, as an embedding's. */
export interface TiedLinear extends LinearSettings, LayerOptions {
  readonly weight: Tensor;
}

export type LinearOptions = FreshLinear | TiedLinear;

/** activation(x · Wᵀ + b): `[..., in]` -> `[..., out]`, with weight `[out, in]` and bias `[out]`. */
export class Linear extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly activation: Activation;

  constructor(options: LinearOptions) {
    super();
    this.weight = this.parameter("weight" in options ? options.weight : fresh(options));
    const { engine, dtype } = this.weight;
    const bias = options.bias ?? true;
    this.bias = bias ? this.parameter(full([this.weight.shape[0]!], 0, { dtype, engine })) : undefined;
    this.activation = options.activation ?? "none";
  }

  override forward(x: Tensor): Tensor {
    return x.linear(this.weight, this.bias, this.activation);
  }
}

function fresh(options: FreshLinear): Tensor {
  const { in: inputs, out, key, engine = defaultEngine(), dtype = "f32" } = options;
  checkSizes("Linear", { in: inputs, out });
  // Slope sqrt(5) makes the bound 1/sqrt(in), as other libraries have it.
  const init = options.init ?? kaimingUniform(Math.sqrt(5));
  return init([out, inputs], { key, dtype, engine });
}
