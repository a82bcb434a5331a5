import { type Activation, defaultEngine, foldKey, ops, type Tensor } from "@revnet-zero/tensor";
import { Dropout } from "./dropout.ts";
import { normal, residualNormal } from "./initializers.ts";
import { Linear } from "./linear.ts";
import { Module } from "./module.ts";
import { checkSizes, type RandomLayerOptions } from "./options.ts";

/** `gelu` has the tanh form of GPT-2, `geluExact` the error function of ViT and BERT. */
export type MLPKind = "gelu" | "geluExact" | "geglu" | "swiglu";

/** An MLP is gated when a second projection is multiplied with the activated one. */
const kinds: { readonly [K in MLPKind]: { readonly activation: Activation; readonly isGated: boolean } } = {
  gelu: { activation: "gelu", isGated: false },
  geluExact: { activation: "geluExact", isGated: false },
  geglu: { activation: "gelu", isGated: true },
  swiglu: { activation: "silu", isGated: true },
};

export interface MLPOptions extends RandomLayerOptions {
  readonly dim: number;
  /** Default "gelu". */
  readonly kind?: MLPKind;
  /** Default 4 · dim; for the gated kinds two thirds of that (rounded to a multiple of 8), which has as many weights. */
  readonly hidden?: number;
  /** Default true, false for the gated kinds. */
  readonly bias?: boolean;
  /** Probability of zeroing an output in training. Default 0. */
  readonly dropout?: number;
  /** Blocks in the model: the last projection starts at std / sqrt(2 · layers). Left out: no scaling. */
  readonly layers?: number;
}

/**
 * `[..., dim]` -> `[..., dim]` through a hidden layer: down(gelu(up(x))), or gated down(activation(gate(x)) * up(x)).
 * Weights start normal(0.02). Source: Shazeer 2020 (arXiv:2002.05202), eq. 2, 6.
 */
export class MLP extends Module {
  readonly gate: Linear | undefined;
  readonly up: Linear;
  readonly down: Linear;
  readonly dropout: Dropout;

  constructor(options: MLPOptions) {
    super();
    const { dim, kind = "gelu", key, layers, init = normal(), engine = defaultEngine(), dtype = "f32" } = options;
    const { activation, isGated } = kinds[kind];
    const { hidden = isGated ? 8 * Math.ceil(dim / 3) : 4 * dim, bias = !isGated } = options;
    checkSizes("MLP", { dim, hidden, layers: layers ?? 1 });
    const shared = { bias, engine, dtype };
    const inner = { ...shared, in: dim, out: hidden, init };
    this.gate = isGated ? new Linear({ ...inner, activation, key: foldKey(key, 0) }) : undefined;
    this.up = new Linear({ ...inner, activation: isGated ? "none" : activation, key: foldKey(key, 1) });
    const downInit = layers === undefined ? init : residualNormal(layers);
    this.down = new Linear({ ...shared, in: hidden, out: dim, init: downInit, key: foldKey(key, 2) });
    this.dropout = new Dropout(options.dropout ?? 0);
  }

  override forward(x: Tensor): Tensor {
    return this.dropout.call(this.#isOneOp(x) ? this.#asOneOp(x) : this.#layerByLayer(x));
  }

  /** Whether a backward pass will want the inner edge as one op. What only runs forward frees what the activation was given at once. */
  #isOneOp({ engine }: Tensor): boolean {
    return this.gate === undefined && engine.recordsGradients;
  }

  #asOneOp(x: Tensor): Tensor {
    const { up, down } = this;
    const biases = up.bias === undefined || down.bias === undefined ? [] : [up.bias, down.bias];
    const attrs = { activation: up.activation as Exclude<Activation, "none"> };
    return x.apply(ops.feedForward, [x, up.weight, down.weight, ...biases], attrs);
  }

  #layerByLayer(x: Tensor): Tensor {
    const hidden = this.#hidden(x);
    const y = this.down.call(hidden);
    hidden.dispose();
    return y;
  }

  #hidden(x: Tensor): Tensor {
    const { gate } = this;
    if (gate === undefined) return this.up.call(x);
    return x.engine.scope(() => gate.call(x).mul(this.up.call(x)));
  }
}
