import { isFloat, statisticsType } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError, ValueError } from "../errors.ts";
import { type FusedOp, fused, type Meta } from "../op.ts";
import { numel } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { mustBe } from "./operands.ts";

export interface AttentionAttrs {
  /** Factor on the scores, usually 1 / sqrt(dim). */
  readonly scale: number;
  /** Query i sees keys up to i + (keys - queries): the last query sees every key. */
  readonly isCausal: boolean;
  /** With a causal mask: see at most this many keys, one's own included. */
  readonly window?: number;
}

/** Output and log-sum-exp of attention of q, k and v, for the errors of `name`. */
export function attentionMeta(
  name: string,
  inputs: readonly Meta[],
  { window, isCausal }: AttentionAttrs,
): readonly Meta[] {
  const [q, k, v] = inputs as [Meta, Meta, Meta];
  if (inputs.some((t) => t.shape.length !== 4)) {
    throw new ShapeError(
      name,
      `needs q, k, v of [batch, heads, time, dim], got ${describeAll(inputs)}`,
      "split the heads: x.reshape([b, t, h, d]).permute([0, 2, 1, 3])",
    );
  }
  if (inputs.some((t) => t.dtype !== q.dtype) || !isFloat(q.dtype))
    throw new DTypeError(
      name,
      `needs float tensors of one dtype, got ${describeAll(inputs)}`,
      'cast first: x.cast("f32")',
    );
  const [b, h, , d] = q.shape as [number, number, number, number];
  const [kb, kh, s, kd] = k.shape as [number, number, number, number];
  if (kb !== b || kd !== d || v.shape[0] !== b || v.shape[1] !== kh || v.shape[2] !== s) {
    throw new ShapeError(
      name,
      `q ${describe(q)}, k ${describe(k)} and v ${describe(v)} do not fit`,
      "batch and dim agree; k and v share heads and time",
    );
  }
  if (h % kh !== 0)
    throw new ShapeError(
      name,
      `${h} query heads are not a multiple of ${kh} key heads`,
      "grouped-query attention shares each key head among equal groups",
    );
  if (window !== undefined && (!isCausal || !Number.isInteger(window) || window < 1)) {
    throw new ValueError(
      name,
      `window is ${window} with isCausal ${isCausal}`,
      "a window is a positive integer and needs a causal mask",
    );
  }
  const t = q.shape[2]!;
  if (isCausal && t > s!) {
    throw new ShapeError(
      name,
      `${t} queries of q ${describe(q)} and ${s} keys of k ${describe(k)}: with a causal mask the first ${t - s!} queries see no key`,
      "give at least as many keys as queries",
    );
  }
  return [
    { shape: [...q.shape.slice(0, 3), v.shape[3]!], dtype: q.dtype },
    { shape: q.shape.slice(0, 3), dtype: statisticsType(q.dtype) },
  ];
}

/**
 * softmax(scale · q kᵀ + mask) v with grouped-query heads: q `[b, h, t, d]`, k `[b, hk, s, d]`, v `[b, hk, s, e]` ->
 * `[b, h, t, e]`. Query head i uses key head floor(i / (h / hk)). Second output: the log-sum-exp of every row, in float32 (of
 * float64 in float64): rounded to 16 bits it would cost backward as many digits as the weights have.
 * Source: Vaswani et al. 2017 (arXiv:1706.03762); Ainslie et al. 2023 (arXiv:2305.13245) for the groups.
 */
export const attention: FusedOp<AttentionAttrs> = fused({
  name: "attention",
  arity: 3,
  autocast: "low",
  doc: "scaled dot-product attention, grouped-query, causal and windowed, with its log-sum-exp",
  meta: (inputs, attrs) => attentionMeta("attention", inputs, attrs),
  flops: ([q, k, v], [o]) => (2 * numel(q!.shape) + 2 * numel(o!.shape)) * k!.shape[2]! + 0 * numel(v!.shape),
  decompose: ([q, k, v], attrs) => {
    const { probabilities, lse } = weights(q!, k!, attrs);
    return [ungroup(probabilities.matmul(v!.unsqueeze(2)), q!), lse];
  },
  gradient: {
    saves: () => ({ inputs: [0, 1, 2], outputs: [0, 1] }),
    vjp: ({ gradient, input, output }, attrs) =>
      gradient.applyAll(attentionBackward, [input(0), input(1), input(2), output(0), output(1), gradient], attrs),
  },
});

/** Gradients by q, k and v. Source: Dao et al. 2022 (arXiv:2205.14135), algorithm 4. */
export const attentionBackward: FusedOp<AttentionAttrs> = fused({
  name: "attentionBackward",
  arity: 6,
  doc: "gradients of attention by q, k and v from its output and log-sum-exp",
  meta: (inputs, attrs) => {
    const [q, k, v] = inputs as [Meta, Meta, Meta];
    const [o, lse] = attentionMeta("attentionBackward", [q, k, v], attrs) as [Meta, Meta];
    mustBe("attentionBackward", inputs, [q, k, v, o, lse, o]);
    return [q, k, v];
  },
  flops: ([q, k]) => 10 * numel(q!.shape) * k!.shape[2]!,
  decompose: ([q, k, v, o, lse, g], attrs) => pull(q!, k!, v!, o!, lse!, g!, attrs),
  gradient: {
    through: ([q, k, v, , , g], attrs) => {
      const { probabilities, lse } = weights(q!, k!, attrs);
      return pull(q!, k!, v!, ungroup(probabilities.matmul(v!.unsqueeze(2)), q!), lse, g!, attrs);
    },
  },
});

/** [b, h, t, d] -> [b, hk, h / hk, t, d]: the queries beside the key head they share. */
function group(q: Tensor, k: Tensor): Tensor {
  const [b, h, t, d] = q.shape as unknown as [number, number, number, number];
  const hk = k.shape[1]!;
  return q.reshape([b, hk, h / hk, t, d]);
}

const ungroup = (x: Tensor, q: Tensor): Tensor => x.reshape([...q.shape.slice(0, 3), x.shape[4]!]);

/** Scores [b, hk, group, t, s], -inf where masked. */
function scores(q: Tensor, k: Tensor, { scale, isCausal, window }: AttentionAttrs): Tensor {
  const s = group(q, k).matmul(k.unsqueeze(2).transpose()).mul(scale);
  if (!isCausal) return s;
  const [t, n] = s.shape.slice(-2) as [number, number];
  const last = q
    .rangeOf(t, "i32")
    .add(n - t)
    .unsqueeze(1);
  const key = q.rangeOf(n, "i32").unsqueeze(0);
  const future = key.greater(last);
  const hidden = window === undefined ? future : future.logicalOr(key.lessEqual(last.sub(window)));
  return hidden.where(Number.NEGATIVE_INFINITY, s);
}

function weights(q: Tensor, k: Tensor, attrs: AttentionAttrs): { probabilities: Tensor; lse: Tensor } {
  const s = scores(q, k, attrs);
  const top = s.detach().max(-1, { keepDims: true });
  const shifted = s.sub(top).exp();
  const total = shifted.sum(-1, { keepDims: true });
  return {
    probabilities: shifted.div(total),
    lse: total.log().add(top).reshape(q.shape.slice(0, 3)).cast(statisticsType(q.dtype)),
  };
}

function pull(q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor, g: Tensor, attrs: AttentionAttrs): Tensor[] {
  const p = scores(q, k, attrs)
    .sub(group(lse.unsqueeze(-1), k))
    .exp()
    .cast(q.dtype); // [b, hk, group, t, s]
  const gGroup = group(g, k);
  const dv = p.transpose().matmul(gGroup).sum([2]);
  const dp = gGroup.matmul(v.unsqueeze(2).transpose());
  const delta = group(g.mul(o).sum(-1, { keepDims: true }), k);
  const ds = p.mul(dp.sub(delta)).mul(attrs.scale);
  const dq = ungroup(ds.matmul(k.unsqueeze(2)), q);
  const dk = ds.transpose().matmul(group(q, k)).sum([2]);
  return [dq, dk, dv];
}
