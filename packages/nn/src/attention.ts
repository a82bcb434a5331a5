import {
  arange,
  defaultEngine,
  describe,
  dispatch,
  foldKey,
  ops,
  ShapeError,
  type Tensor,
  ValueError,
} from "@revnet-zero/tensor";
import { type Decoding, decodingOf } from "./decoding.ts";
import { Dropout } from "./dropout.ts";
import { normal, residualNormal } from "./initializers.ts";
import type { AttentionCache, AttentionMask } from "./keyValueCache.ts";
import { Linear } from "./linear.ts";
import { Module } from "./module.ts";
import { checkSizes, type RandomLayerOptions } from "./options.ts";

export interface SelfAttentionOptions extends RandomLayerOptions {
  readonly dim: number;
  readonly numHeads: number;
  /** Heads of keys and values, each shared by numHeads / numKeyValueHeads query heads. Default numHeads. */
  readonly numKeyValueHeads?: number;
  /** Default dim / numHeads. */
  readonly headDim?: number;
  /** Default true. */
  readonly isCausal?: boolean;
  /** With a causal mask: steps a query sees, its own included. */
  readonly window?: number;
  /** Rotary positions on queries and keys; the number is the base of the wavelengths (true: 10000). Default false. */
  readonly rotary?: boolean | number;
  /** Default true. */
  readonly bias?: boolean;
  /** Probability of zeroing an output in training. Default 0. */
  readonly dropout?: number;
  /** Blocks in the model: the last projection starts at std / sqrt(2 · layers). Left out: no scaling. */
  readonly layers?: number;
}

export interface AttentionCall {
  /** i32 places `[time]` for rotary positions. Default: counting from 0, or from what the cache holds. */
  readonly positions?: Tensor;
  /** Keys and values of earlier steps, to which this call's are added. Not differentiable. */
  readonly cache?: AttentionCache;
}

/**
 * Self-attention `[batch, time, dim]` -> `[batch, time, dim]`, multi-head or grouped-query, with one projection for
 * queries, keys and values: weight `[(numHeads + 2 · numKeyValueHeads) · headDim, dim]`, rows in that order.
 * Source: Vaswani et al. 2017 (arXiv:1706.03762), section 3.2; Ainslie et al. 2023 (arXiv:2305.13245) for the groups.
 */
export class Attention extends Module {
  readonly numHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly isCausal: boolean;
  readonly window: number | undefined;
  /** Base of the rotary wavelengths; undefined for none. */
  readonly rotaryBase: number | undefined;
  readonly qkv: Linear;
  readonly out: Linear;
  readonly dropout: Dropout;

  constructor(options: SelfAttentionOptions) {
    super();
    const { dim, numHeads, numKeyValueHeads = numHeads, headDim = dim / numHeads, rotary = false, layers } = options;
    const { key, bias = true, init = normal(), engine = defaultEngine(), dtype = "f32" } = options;
    checkSizes("Attention", { dim, numHeads, numKeyValueHeads, headDim, layers: layers ?? 1 });
    if (numHeads % numKeyValueHeads !== 0) {
      throw new ValueError(
        "Attention",
        `${numHeads} heads do not divide among ${numKeyValueHeads} key-value heads`,
        "make numHeads a multiple of numKeyValueHeads",
      );
    }
    if (rotary !== false && headDim % 2 !== 0)
      throw new ValueError("Attention", `rotary positions need an even headDim, got ${headDim}`);
    this.numHeads = numHeads;
    this.numKeyValueHeads = numKeyValueHeads;
    this.headDim = headDim;
    this.isCausal = options.isCausal ?? true;
    this.window = options.window;
    this.rotaryBase = rotary === true ? 10000 : rotary === false ? undefined : rotary;
    const shared = { bias, engine, dtype };
    const rows = (numHeads + 2 * numKeyValueHeads) * headDim;
    this.qkv = new Linear({ ...shared, in: dim, out: rows, init, key: foldKey(key, 0) });
    const outInit = layers === undefined ? init : residualNormal(layers);
    this.out = new Linear({ ...shared, in: numHeads * headDim, out: dim, init: outInit, key: foldKey(key, 1) });
    this.dropout = new Dropout(options.dropout ?? 0);
  }

  override forward(x: Tensor, { positions, cache }: AttentionCall = {}): Tensor {
    if (x.rank !== 3)
      throw new ShapeError("Attention", `needs [batch, time, dim], got ${describe(x)}`, "unsqueeze or reshape x");
    const mixed = x.engine.scope(() => this.#mix(x, positions, cache));
    const y = this.out.call(mixed);
    mixed.dispose();
    return this.dropout.call(y);
  }

  /** Everything before the last projection: [b, t, dim] -> [b, t, h · d]. */
  #mix(x: Tensor, positions: Tensor | undefined, cache: AttentionCache | undefined): Tensor {
    const { numHeads, numKeyValueHeads, headDim, rotaryBase } = this;
    const [batch, time] = x.shape as readonly number[] as [number, number];
    const projected = this.qkv.call(x);
    const heads = projected.reshape([batch, time, numHeads + 2 * numKeyValueHeads, headDim]);
    projected.dispose();
    const decoding = cache === undefined ? decodingOf(x.engine) : undefined;
    if (decoding !== undefined) {
      const attend = decoding.isPrompt ? this.#attendPrompt : this.#attendStep;
      return attend.call(this, heads, decoding).reshape([batch, time, numHeads * headDim]);
    }
    const start = cache?.length ?? 0;
    const places = rotaryBase === undefined ? undefined : (positions ?? arange(time, { start, engine: x.engine }));
    const y =
      cache === undefined && this.attend === undefined
        ? this.#attend(heads, places)
        : this.#attendBy(heads, places, cache);
    return y.reshape([batch, time, numHeads * headDim]);
  }

  get #mask(): AttentionMask {
    const { isCausal, window } = this;
    return { isCausal, ...(window === undefined ? {} : { window }) };
  }

  /** Other ways to attend write their own: q `[b, h, t, d]`, k and v `[b, hk, t, d]` -> `[b, h, t, d]`. */
  protected attend?(q: Tensor, k: Tensor, v: Tensor): Tensor;

  /** Every step to all that its mask lets it see: [b, t, h + 2 · hk, d] -> [b, t, h, d]. */
  #attend(heads: Tensor, places: Tensor | undefined): Tensor {
    const { turned, y } = this.#turnAndAttend(heads, places);
    turned.dispose();
    return y;
  }

  /** The same, and the heads, which it takes, with queries and keys turned. */
  #turnAndAttend(heads: Tensor, places: Tensor | undefined): { readonly turned: Tensor; readonly y: Tensor } {
    const { rotaryBase: base = 1, numKeyValueHeads: keyHeads } = this;
    const attrs = { keyHeads, base, scale: 1 / Math.sqrt(this.headDim), ...this.#mask };
    const inputs = places === undefined ? [heads] : [heads, places];
    // Nobody else reads the heads: they are turned where they lie.
    const [turned, y, lse] = dispatch(heads.engine, ops.headAttention, inputs, attrs, { donates: true });
    for (const t of [heads, lse!]) t.dispose();
    return { turned: turned!, y: y! };
  }

  /** The first steps of sequences to themselves, for `decoding` to keep: [b, t, h + 2 · hk, d] -> [b, t, h, d]. */
  #attendPrompt(heads: Tensor, decoding: Decoding): Tensor {
    const { numHeads, numKeyValueHeads: keyHeads, headDim, rotaryBase } = this;
    const { engine } = heads;
    const kept = decoding.keptBy(this, heads, [keyHeads, headDim]);
    const places = rotaryBase === undefined ? undefined : arange(heads.shape[1]!, { engine });
    const { turned, y } = this.#turnAndAttend(heads, places);
    const [, k, v] = turned.split([numHeads, keyHeads, keyHeads], 2);
    const starts = [0, 0, 0, 0];
    for (const [to, part] of [[kept.keys, k!] as const, [kept.values, v!] as const])
      dispatch(engine, ops.overwrite, [to, part.permute([0, 2, 1, 3])], { starts });
    return y;
  }

  /** One step to itself and those that `decoding` keeps: [b, 1, h + 2 · hk, d] -> [b, 1, h, d]. */
  #attendStep(heads: Tensor, decoding: Decoding): Tensor {
    const { numKeyValueHeads: keyHeads, headDim, rotaryBase: base, window } = this;
    const { keys, values } = decoding.keptBy(this, heads, [keyHeads, headDim]);
    const attrs = { keyHeads, base, scale: 1 / Math.sqrt(headDim), ...(window === undefined ? {} : { window }) };
    const [, , y] = dispatch(heads.engine, ops.decodeAttention, [heads, decoding.places, keys, values], attrs);
    return y!;
  }

  /** Whether steps can be decoded one by one, from what is kept of those before. */
  get decodes(): boolean {
    return this.isCausal && this.attend === undefined;
  }

  /** The same by a cache or another way. */
  #attendBy(heads: Tensor, places: Tensor | undefined, cache: AttentionCache | undefined): Tensor {
    const [q, k, v] = heads.engine.scope(() => this.#split(heads, places));
    heads.dispose();
    const y = cache === undefined ? this.attend!(q, k, v) : cache.attend(q, k, v, this.#mask);
    return y.permute([0, 2, 1, 3]);
  }

  /** q [b, h, t, d], and k and v [b, hk, t, d]. */
  #split(heads: Tensor, places: Tensor | undefined): [q: Tensor, k: Tensor, v: Tensor] {
    const { numHeads, numKeyValueHeads, rotaryBase } = this;
    const parts = heads.split([numHeads, numKeyValueHeads, numKeyValueHeads], 2);
    const [q, k, v] = parts.map((part) => part.permute([0, 2, 1, 3])) as [Tensor, Tensor, Tensor];
    if (places === undefined) return [q, k, v];
    // v is copied out, or it alone would keep the whole projection for backward.
    return [q.rope(places, rotaryBase), k.rope(places, rotaryBase), v.clone()];
  }
}
