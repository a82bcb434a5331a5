import { defaultEngine, type Tensor } from "@revnet-zero/tensor";
import { normal } from "./initializers.ts";
import { Module } from "./module.ts";
import { checkSizes, type RandomLayerOptions } from "./options.ts";

export interface EmbeddingOptions extends RandomLayerOptions {
  /** Number of tokens. */
  readonly vocabulary: number;
  readonly dim: number;
}

/** Rows of a table: i32 tokens `[...]` -> `[..., dim]`, with weight `[vocabulary, dim]`, by default normal(0.02). */
export class Embedding extends Module {
  readonly weight: Tensor;

  constructor(options: EmbeddingOptions) {
    super();
    const { vocabulary, dim, key, engine = defaultEngine(), dtype = "f32", init = normal() } = options;
    checkSizes("Embedding", { vocabulary, dim });
    this.weight = this.parameter(init([vocabulary, dim], { key, dtype, engine }));
  }

  override forward(tokens: Tensor): Tensor {
    return this.weight.take(tokens, 0);
  }
}
