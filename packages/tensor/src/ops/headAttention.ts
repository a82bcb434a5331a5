import { DTypeError, describe, describeAll, ShapeError, ValueError } from "../errors.ts";
import { type FusedOp, fused, type Meta } from "../op.ts";
import { numel } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type AttentionAttrs, attention, attentionBackward, attentionMeta } from "./attention.ts";
import { mustBe } from "./operands.ts";
import { rope } from "./rope.ts";

// Self-attention from the one projection that queries, keys and values come from to what the next projection reads: a backend
// reads the heads where they lie, and copies nothing.

export interface HeadAttentionAttrs extends AttentionAttrs {
  /** Heads of keys, and as many of values, behind those of queries. */
  readonly keyHeads: number;
  /** Base of the rotary wavelengths, where positions are given. */
  readonly base: number;
}

/** Checks `[batch, time, heads + 2 · keyHeads, dim]`; gives the metas of q and k, v. */
function headsOf(
  name: string,
  x: Meta,
  positions: Meta | undefined,
  { keyHeads, base }: HeadAttentionAttrs,
): [Meta, Meta] {
  if (!Number.isInteger(keyHeads) || keyHeads < 1 || !(Number.isFinite(base) && base > 0)) {
    throw new ValueError(
      name,
      `keyHeads is ${keyHeads}, base is ${base}`,
      "keyHeads is a positive integer, and base, that of the wavelengths, a positive number",
    );
  }
  const [batch, time, all, dim] = x.shape as unknown as [number, number, number, number];
  const heads = all - 2 * keyHeads;
  if (x.shape.length !== 4 || !(heads > 0)) {
    throw new ShapeError(
      name,
      `${describe(x)} does not hold query heads and 2 x ${keyHeads} heads of keys and values`,
      "give [batch, time, heads + 2 · keyHeads, dim]",
    );
  }
  if (
    positions !== undefined &&
    (positions.dtype !== "i32" || positions.shape.length !== 1 || positions.shape[0] !== time)
  ) {
    throw new ShapeError(
      name,
      `positions ${describe(positions)} do not fit ${describe(x)}`,
      'one i32 position a time step: x.rangeOf(time, "i32")',
    );
  }
  if (positions !== undefined && dim % 2 !== 0)
    throw new ShapeError(name, `${describe(x)} has heads of odd size, which cannot turn`, "use an even head size");
  const of = (count: number): Meta => ({ shape: [batch, count, time, dim], dtype: x.dtype });
  return [of(heads), of(keyHeads)];
}

function outputs(name: string, [x, positions]: readonly Meta[], attrs: HeadAttentionAttrs): readonly [Meta, Meta] {
  const [q, k] = headsOf(name, x!, positions, attrs);
  const [o, lse] = attentionMeta(name, [q, k, k], attrs) as [Meta, Meta];
  const [batch, heads, time, dim] = o.shape as unknown as [number, number, number, number];
  return [{ shape: [batch, time, heads, dim], dtype: o.dtype }, lse];
}

function checkCount(name: string, inputs: readonly Meta[], most: number): void {
  if (inputs.length === most || inputs.length === most - 1) return;
  throw new DTypeError(name, `takes ${most - 1} or ${most} tensors, got ${describeAll(inputs)}`, "positions come last");
}

/** [b, t, h, d] <-> [b, h, t, d]. */
const swap = (x: Tensor): Tensor => x.permute([0, 2, 1, 3]);

/** q, k and v [b, h, t, d] of packed heads. */
const split = (x: Tensor, { keyHeads }: HeadAttentionAttrs): Tensor[] =>
  x.split([x.shape[2]! - 2 * keyHeads, keyHeads, keyHeads], 2).map(swap);

/** Packs q, k and v, queries and keys turned where there are positions. */
function join(parts: readonly Tensor[], positions: Tensor | undefined, base: number, direction: 1 | -1): Tensor {
  const turned = parts.map((part, i) =>
    swap(i === 2 || positions === undefined ? part : part.apply(rope, [part, positions], { base, direction })),
  );
  return turned[0]!.concat(turned.slice(1), 2);
}

/**
 * Attention of a sequence to itself: x `[b, t, heads + 2 · keyHeads, d]` (queries, keys, values) and, for rotary embedding of queries
 * and keys, i32 positions `[t]`. Outputs: x with queries and keys turned, which may be written over x; the attention
 * `[b, t, heads, d]`; its log-sum-exp `[b, heads, t]`.
 */
export const headAttention: FusedOp<HeadAttentionAttrs> = fused({
  name: "headAttention",
  arity: "variadic",
  autocast: "low",
  doc: "packed query, key and value heads turned by rotary positions where given, and their self-attention",
  mayAlias: 0,
  meta: (inputs, attrs) => {
    checkCount("headAttention", inputs, 2);
    return [inputs[0]!, ...outputs("headAttention", inputs, attrs)];
  },
  flops: ([x], [, o]) => 4 * numel(o!.shape) * x!.shape[1]!,
  decompose: ([x, positions], attrs) => {
    const turned = positions === undefined ? x!.clone() : join(split(x!, attrs), positions, attrs.base, 1);
    const [o, lse] = x!.applyAll(attention, split(turned, attrs), attentionAttrs(attrs));
    return [turned, swap(o!), lse!];
  },
  gradient: {
    saves: (inputs) => ({ inputs: inputs.length === 2 ? [1] : [], outputs: [0, 1, 2] }),
    vjp: ({ gradients: [direct, g], input, output, inputs }, attrs) => {
      const positions = inputs.length === 2 ? input(1) : undefined;
      const operands = [output(0), output(1), output(2)];
      const through = g?.apply(
        headAttentionBackward,
        [...operands, g, ...(positions === undefined ? [] : [positions])],
        attrs,
      );
      const back = direct && (positions === undefined ? direct : join(split(direct, attrs), positions, attrs.base, -1));
      return [through === undefined ? back : back === undefined ? through : through.add(back)];
    },
  },
});

/** The gradient by what headAttention was given, from what it gave and the attention's gradient. */
export const headAttentionBackward: FusedOp<HeadAttentionAttrs> = fused({
  name: "headAttentionBackward",
  arity: "variadic",
  doc: "gradient of headAttention by its packed heads, from its outputs",
  meta: (inputs, attrs) => {
    checkCount("headAttentionBackward", inputs, 5);
    const [x, , , , positions] = inputs as [Meta, Meta, Meta, Meta, Meta | undefined];
    const [o, lse] = outputs("headAttentionBackward", positions === undefined ? [x] : [x, positions], attrs);
    mustBe("headAttentionBackward", inputs.slice(0, 4), [x, o, lse, o]);
    return [x];
  },
  flops: ([x, o]) => 10 * numel(o!.shape) * x!.shape[1]!,
  decompose: ([x, o, lse, g, positions], attrs) => {
    const operands = [...split(x!, attrs), swap(o!), lse!, swap(g!)];
    return [join(x!.applyAll(attentionBackward, operands, attentionAttrs(attrs)), positions, attrs.base, -1)];
  },
  gradient: {
    through: ([x, , , g, positions], attrs) => {
      const [parts, own] = [split(x!, attrs), attentionAttrs(attrs)];
      const [o, lse] = x!.applyAll(attention, parts, own);
      const gradients = x!.applyAll(attentionBackward, [...parts, o!, lse!, swap(g!)], own);
      return [join(gradients, positions, attrs.base, -1)];
    },
  },
});

const attentionAttrs = ({ scale, isCausal, window }: HeadAttentionAttrs): AttentionAttrs => ({
  scale,
  isCausal,
  ...(window === undefined ? {} : { window }),
});
