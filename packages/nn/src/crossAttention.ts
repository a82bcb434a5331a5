import { defaultEngine, describeAll, foldKey, ShapeError, type Tensor, ValueError } from "@revnet-zero/tensor";
import { Dropout } from "./dropout.ts";
import { normal, residualNormal } from "./initializers.ts";
import { Linear } from "./linear.ts";
import { Module } from "./module.ts";
import { checkSizes, type RandomLayerOptions } from "./options.ts";

export interface CrossAttentionOptions extends RandomLayerOptions {
  readonly dim: number;
  /** Width of the memory. Default dim. */
  readonly memoryDim?: number;
  readonly numHeads: number;
  /** Heads of keys and values, each shared by numHeads / numKeyValueHeads query heads. Default numHeads. */
  readonly numKeyValueHeads?: number;
  /** Default dim / numHeads. */
  readonly headDim?: number;
  /** Default true. */
  readonly bias?: boolean;
  /** Probability of zeroing an output in training. Default 0. */
  readonly dropout?: number;
  /** Blocks in the model: the last projection starts at std / sqrt(2 · layers). Left out: no scaling. */
  readonly layers?: number;
}

/**
 * Attention of a sequence `[batch, time, dim]` to a memory `[batch, places, memoryDim]`, of which every step sees every place:
 * `[batch, time, dim]`. Queries are projected from the one, keys and values (weight `[2 · numKeyValueHeads · headDim, memoryDim]`,
 * keys first) from the other.
 * Source: Vaswani et al. 2017 (arXiv:1706.03762), section 3.2.3 ("encoder-decoder attention").
 */
export class CrossAttention extends Module {
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly query: Linear;
  readonly keyValue: Linear;
  readonly out: Linear;
  readonly dropout: Dropout;

  constructor(options: CrossAttentionOptions) {
    super();
    const { dim, memoryDim = dim, numHeads, numKeyValueHeads = numHeads, headDim = dim / numHeads, layers } = options;
    const { key, bias = true, init = normal(), engine = defaultEngine(), dtype = "f32" } = options;
    checkSizes("CrossAttention", { dim, memoryDim, numHeads, numKeyValueHeads, headDim, layers: layers ?? 1 });
    if (numHeads % numKeyValueHeads !== 0) {
      throw new ValueError(
        "CrossAttention",
        `${numHeads} heads do not divide among ${numKeyValueHeads} key-value heads`,
        "make numHeads a multiple of numKeyValueHeads",
      );
    }
    this.numHeads = numHeads;
    this.numKeyValueHeads = numKeyValueHeads;
    this.headDim = headDim;
    const shared = { bias, engine, dtype };
    this.query = new Linear({ ...shared, in: dim, out: numHeads * headDim, init, key: foldKey(key, 0) });
    const rows = 2 * numKeyValueHeads * headDim;
    this.keyValue = new Linear({ ...shared, in: memoryDim, out: rows, init, key: foldKey(key, 1) });
    const outInit = layers === undefined ? init : residualNormal(layers);
    this.out = new Linear({ ...shared, in: numHeads * headDim, out: dim, init: outInit, key: foldKey(key, 2) });
    this.dropout = new Dropout(options.dropout ?? 0);
  }

  override forward(x: Tensor, memory: Tensor): Tensor {
    if (x.rank !== 3 || memory?.rank !== 3 || x.shape[0] !== memory.shape[0]) {
      throw new ShapeError(
        "CrossAttention",
        `needs [batch, time, dim] and a memory [batch, places, memoryDim], got ${memory === undefined ? describeAll([x]) : describeAll([x, memory])}`,
        "call(x, memory), both of one batch",
      );
    }
    const mixed = x.engine.scope(() => this.#mix(x, memory));
    const y = this.out.call(mixed);
    mixed.dispose();
    return this.dropout.call(y);
  }

  /** Everything before the last projection: [b, t, dim] -> [b, t, h · d]. */
  #mix(x: Tensor, memory: Tensor): Tensor {
    const { numHeads, numKeyValueHeads, headDim } = this;
    const [batch, time] = x.shape as readonly number[] as [number, number];
    const split = (rows: Tensor, heads: number): Tensor =>
      rows.reshape([batch, rows.shape[1]!, heads, headDim]).permute([0, 2, 1, 3]);
    const q = split(this.query.call(x), numHeads);
    const [k, v] = this.keyValue
      .call(memory)
      .split(2)
      .map((rows) => split(rows, numKeyValueHeads)) as [Tensor, Tensor];
    return q
      .attention(k, v)
      .permute([0, 2, 1, 3])
      .reshape([batch, time, numHeads * headDim]);
  }
}
