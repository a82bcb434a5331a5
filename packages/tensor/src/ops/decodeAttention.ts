import { isFloat, statisticsType } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError, ValueError } from "../errors.ts";
import { type FusedOp, fused, type Meta } from "../op.ts";
import { numel, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { rope } from "./rope.ts";

export interface DecodeAttentionAttrs {
  readonly scale: number;
  /** Heads of keys, and as many of values, behind those of queries. */
  readonly keyHeads: number;
  /** Base of the rotary wavelengths; undefined for none. */
  readonly base: number | undefined;
  /** Steps a query sees, its own included. */
  readonly window?: number;
}

function checkAttrs({ keyHeads, scale, base, window }: DecodeAttentionAttrs): void {
  const isCount = (n: number): boolean => Number.isInteger(n) && n >= 1;
  const isBase = base === undefined || (Number.isFinite(base) && base > 0);
  if (isCount(keyHeads) && Number.isFinite(scale) && isBase && (window === undefined || isCount(window))) return;
  throw new ValueError(
    "decodeAttention",
    `keyHeads is ${keyHeads}, scale is ${scale}, base is ${base}, window is ${window}`,
    "keyHeads and window are integers of at least 1, scale and base finite numbers, base positive; no window and no base are undefined",
  );
}

/** [b, h, 1, d] and [b, hk, 1, d] twice. */
function split(heads: Tensor, { keyHeads }: DecodeAttentionAttrs): [Tensor, Tensor, Tensor] {
  const parts = heads.split([heads.shape[2]! - 2 * keyHeads, keyHeads, keyHeads], 2);
  return parts.map((part) => part.permute([0, 2, 1, 3])) as [Tensor, Tensor, Tensor];
}

/** Which of the places `[length]` the query of each sequence sees, as bool [1 or b, 1, 1, length]. */
function seen(place: Tensor, length: number, window: number | undefined): Tensor {
  const places = place.rangeOf(length, "i32");
  const own = place.reshape([-1, 1, 1, 1]);
  const before = places.lessEqual(own);
  return window === undefined ? before : before.logicalAnd(places.greater(own.sub(window)));
}

/** x [b, h, 1, d] turned by the place of each sequence: to `rope` sequences are times where their places differ. */
function turned(x: Tensor, place: Tensor, base: number): Tensor {
  const attrs = { base, direction: 1 } as const;
  if (place.shape[0] === 1) return x.apply(rope, [x, place], attrs);
  const byTime = x.permute([2, 1, 0, 3]);
  return byTime.apply(rope, [byTime, place], attrs).permute([2, 1, 0, 3]);
}

/**
 * Attention of one step to all before it, whose keys and values are kept: heads `[b, 1, heads + 2 · keyHeads, d]` (queries, keys, values),
 * the step's place i32 `[1]`, or `[b]` where sequences have their own, below `length`, and keys and values `[b, keyHeads, length, d]` of the
 * places before. The step's own are written there, queries and keys turned by the place where there is a base. Outputs: keys and values, written in place; the attention
 * `[b, 1, heads, d]`. The place lies on the device, so a step is the same work at every place.
 */
export const decodeAttention: FusedOp<DecodeAttentionAttrs> = fused({
  name: "decodeAttention",
  arity: 4,
  doc: "attention of one step to kept keys and values, to which it adds its own",
  mutates: () => [2, 3],
  meta: (inputs, attrs) => {
    checkAttrs(attrs);
    const { keyHeads } = attrs;
    const [x, place, keys, values] = inputs as readonly [Meta, Meta, Meta, Meta];
    const [batch, time, all, dim] = x.shape as unknown as [number, number, number, number];
    const heads = all - 2 * keyHeads;
    if (attrs.base !== undefined && dim % 2 !== 0)
      throw new ShapeError(
        "decodeAttention",
        `${describe(x)} has heads of odd size, which cannot turn`,
        "use an even head size",
      );
    if (x.shape.length !== 4 || time !== 1 || !(heads > 0) || heads % keyHeads !== 0)
      throw new ShapeError(
        "decodeAttention",
        `${describe(x)} does not hold one step's query heads and 2 x ${keyHeads} heads of keys and values`,
        "give [batch, 1, heads + 2 · keyHeads, dim]",
      );
    if (!(sameShape(place.shape, [1]) || sameShape(place.shape, [batch])) || place.dtype !== "i32")
      throw new DTypeError(
        "decodeAttention",
        `the place is ${describe(place)}`,
        `give one i32 number, [1], or one of each sequence, [${batch}]`,
      );
    const held = keys.shape[2] ?? 0;
    if (!sameShape(keys.shape, [batch, keyHeads, held, dim]) || !sameShape(values.shape, keys.shape))
      throw new ShapeError(
        "decodeAttention",
        `keys and values ${describeAll([keys, values])} do not fit ${describe(x)}`,
        `keep both as [${batch}, ${keyHeads}, length, ${dim}]`,
      );
    if (!isFloat(x.dtype) || keys.dtype !== x.dtype || values.dtype !== x.dtype)
      throw new DTypeError(
        "decodeAttention",
        `types differ: ${describeAll(inputs)}`,
        "keep keys and values in x's type",
      );
    return [keys, values, { shape: [batch, 1, heads, dim], dtype: x.dtype }];
  },
  flops: ([x, , keys]) => (4 * numel(keys!.shape) * x!.shape[2]!) / Math.max(1, keys!.shape[1]!),
  decompose: ([heads, place, keys, values], attrs) => {
    const { base, keyHeads, scale, window } = attrs;
    const [q, k, v] = split(heads!, attrs);
    const turn = (x: Tensor): Tensor => (base === undefined ? x : turned(x, place!, base));
    const length = keys!.shape[2]!;
    const isHere = place!
      .rangeOf(length, "i32")
      .reshape([length, 1])
      .equal(place!.reshape([-1, 1, 1, 1]));
    const k1 = keys!.assign(isHere.where(turn(k), keys!));
    const v1 = values!.assign(isHere.where(v, values!));
    const wide = statisticsType(heads!.dtype);
    const [batch, heads_, , dim] = q.shape as unknown as [number, number, number, number];
    // Query heads that share a key head are rows of one product: [b, hk, h / hk, d] x [b, hk, d, s].
    const grouped = turn(q)
      .cast(wide)
      .reshape([batch, keyHeads, heads_ / keyHeads, dim]);
    const scores = grouped.matmul(k1.cast(wide).transpose()).mul(scale);
    const weights = seen(place!, length, window).where(scores, Number.NEGATIVE_INFINITY).softmax(-1);
    const y = weights.matmul(v1.cast(wide)).reshape([batch, 1, heads_, dim]);
    return [k1, v1, y.cast(heads!.dtype)];
  },
  gradient: "none",
});
