import type { DType } from "../dtype.ts";
import { type Engine, linkIsTensor } from "../engine.ts";
import { attention } from "../ops/attention.ts";
import { conv2d } from "../ops/conv.ts";
import { assign } from "../ops/copy.ts";
import { type Activation, linear } from "../ops/linear.ts";
import { matmul } from "../ops/matmul.ts";
import { layerNorm, rmsNorm } from "../ops/norm.ts";
import { rope } from "../ops/rope.ts";
import { crossEntropy } from "../ops/softmax.ts";
import type { Shape } from "../shape.ts";
import type { MatmulShape } from "../types.ts";
import { fromWords } from "./create.ts";
import { linkTensor, type TensorInit } from "./link.ts";
import { MovementTensor } from "./movement.ts";

export interface ConvOptions {
  readonly stride?: number | readonly [number, number];
  readonly padding?: number | readonly [number, number];
  readonly dilation?: number | readonly [number, number];
  readonly groups?: number;
}

export interface AttentionOptions {
  /** Default 1 / sqrt(dim). */
  readonly scale?: number;
  readonly isCausal?: boolean;
  /** With a causal mask: how many keys a query sees, its own included. */
  readonly window?: number;
}

/**
 * An n-dimensional array on an engine, with a place in the autograd graph. Ops never change their inputs; methods
 * chain. Memory is freed by `dispose`, by the scope that owns the tensor, or by `using`.
 */
export class Tensor<S extends Shape = Shape> extends MovementTensor<S> {
  protected override get self(): Tensor {
    return this as unknown as Tensor;
  }
  protected override wrap(init: TensorInit): Tensor {
    return new Tensor(init);
  }

  /** `[..., m, k] x [..., k, n] -> [..., m, n]`; leading axes broadcast. Transpose operands freely: no copy is made. */
  matmul<const T extends Shape>(b: Tensor<T>): Tensor<MatmulShape<S, T>> {
    return this.apply(matmul, [this.self, b as unknown as Tensor], undefined) as unknown as Tensor<MatmulShape<S, T>>;
  }
  /** activation(x · Wᵀ + b): this `[..., in]`, weight `[out, in]`, bias `[out]`. */
  linear(weight: Tensor, bias?: Tensor, activation: Activation = "none"): Tensor {
    return this.apply(linear, bias === undefined ? [this.self, weight] : [this.self, weight, bias], { activation });
  }
  /** Over the last axis; the result in the type `to`, by default this tensor's. */
  layerNorm(weight: Tensor, bias: Tensor, eps = 1e-5, to?: DType): Tensor<S> {
    return this.apply(layerNorm, [this.self, weight, bias], to === undefined ? { eps } : { eps, to }) as Tensor<S>;
  }
  rmsNorm(weight: Tensor, eps = 1e-6, to?: DType): Tensor<S> {
    return this.apply(rmsNorm, [this.self, weight], to === undefined ? { eps } : { eps, to }) as Tensor<S>;
  }
  /** Rotary positions over the last two axes [time, dim]; positions are i32 `[time]`. */
  rope(positions: Tensor, base = 10000): Tensor<S> {
    return this.apply(rope, [this.self, positions], { base, direction: 1 }) as Tensor<S>;
  }
  /** This is q `[b, h, t, d]`; k and v `[b, hk, s, d]`. */
  attention(k: Tensor, v: Tensor, { scale, isCausal = false, window }: AttentionOptions = {}): Tensor {
    const dim = this.shape[this.rank - 1] ?? 1;
    const attrs = { scale: scale ?? 1 / Math.sqrt(dim), isCausal, ...(window === undefined ? {} : { window }) };
    return this.apply(attention, [this.self, k, v], attrs);
  }
  /** Loss in nats of every row: logits `[n, classes]`, i32 targets `[n]`; negative targets give 0. */
  crossEntropy(targets: Tensor): Tensor {
    return this.apply(crossEntropy, [this.self, targets], undefined);
  }
  /** NCHW cross-correlation with weight `[out, channels / groups, kh, kw]`. */
  conv2d(weight: Tensor, { stride = 1, padding = 0, dilation = 1, groups = 1 }: ConvOptions = {}): Tensor {
    const attrs = {
      stride: pair(stride),
      padding: pair(padding),
      dilation: pair(dilation),
      groups,
    };
    return this.apply(conv2d, [this.self, weight], attrs);
  }
  /** `[n, channels, time]` with weight `[out, channels / groups, k]`. */
  conv1d(
    weight: Tensor,
    {
      stride = 1,
      padding = 0,
      dilation = 1,
      groups = 1,
    }: {
      readonly stride?: number;
      readonly padding?: number;
      readonly dilation?: number;
      readonly groups?: number;
    } = {},
  ): Tensor {
    const options: ConvOptions = { stride: [1, stride], padding: [0, padding], dilation: [1, dilation], groups };
    return this.engine.scope(() => this.unsqueeze(2).conv2d(weight.unsqueeze(2), options).squeeze(2), "conv1d");
  }

  /** Overwrites the values in place. Not recorded: for parameters and buffers, outside of backward. */
  assign(value: Tensor): Tensor {
    return this.apply(assign, [this.self, value], undefined);
  }

  /** The same values on another engine (through host memory). */
  async to(engine: Engine): Promise<Tensor> {
    if (engine === this.engine) return this.self;
    return fromWords(await this.words(), this.shape, this.dtype, engine);
  }

  override toString(): string {
    return `Tensor [${this.shape.join(", ")}] ${this.dtype} on ${this.engine.backend.name}`;
  }
}

const pair = (v: number | readonly [number, number]): readonly [number, number] => (typeof v === "number" ? [v, v] : v);

linkTensor((init) => new Tensor(init));
linkIsTensor((v): v is Tensor => v instanceof Tensor);
