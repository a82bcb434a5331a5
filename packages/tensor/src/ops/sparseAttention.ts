import { isFloat, statisticsType } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError, ValueError } from "../errors.ts";
import { type FusedOp, fused, type Meta } from "../op.ts";
import { numel } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type AttentionBias, biasSteps, RUN_WORDS, type SparseAttentionAttrs } from "./attentionList.ts";
import { mustBe } from "./operands.ts";
import { attend, pull, type SparseOperands } from "./sparseAttentionParts.ts";

/** A bias may come after the operands that there always are. */
function checkCount(name: string, inputs: readonly Meta[], count: number, what: string): void {
  if (inputs.length === count || inputs.length === count + 1) return;
  throw new ValueError(
    name,
    `takes ${count} or ${count + 1} tensors, got ${inputs.length}`,
    `give ${what}, and perhaps a bias`,
  );
}

function check(name: string, inputs: readonly Meta[], attrs: SparseAttentionAttrs): readonly Meta[] {
  const [q, k, v, runs, bias] = inputs as [Meta, Meta, Meta, Meta, Meta | undefined];
  if ([q, k, v].some((x) => x.shape.length !== 4)) {
    throw new ShapeError(
      name,
      `needs q, k, v of [batch, heads, time, dim], got ${describeAll([q, k, v])}`,
      "split the heads: x.reshape([b, t, h, d]).permute([0, 2, 1, 3])",
    );
  }
  if ([q, k, v].some((x) => x.dtype !== q.dtype) || !isFloat(q.dtype) || runs.dtype !== "i32")
    throw new DTypeError(
      name,
      `needs float tensors of one dtype and an i32 list, got ${describeAll(inputs)}`,
      'cast first: x.cast("f32")',
    );
  if (bias !== undefined && bias.dtype !== statisticsType(q.dtype))
    throw new DTypeError(
      name,
      `the bias of ${q.dtype} operands is ${describe(bias)}`,
      `scores are sums in ${statisticsType(q.dtype)}: bias.cast("${statisticsType(q.dtype)}")`,
    );
  const [b, h, t, d] = q.shape as [number, number, number, number];
  const [kb, kh, s, kd] = k.shape as [number, number, number, number];
  if (kb !== b || kd !== d || v.shape[0] !== b || v.shape[1] !== kh || v.shape[2] !== s || h % kh !== 0) {
    throw new ShapeError(
      name,
      `q ${describe(q)}, k ${describe(k)} and v ${describe(v)} do not fit`,
      "batch and dim agree, k and v share heads and time, and the key heads divide the query heads",
    );
  }
  checkAttrs(name, attrs);
  checkRuns(name, runs, [b, kh, Math.ceil(t / attrs.blockSize)]);
  checkBias(name, bias, attrs.bias, { b, h, t, s });
  return [
    { shape: [b, h, t, v.shape[3]!], dtype: q.dtype },
    { shape: [b, h, t], dtype: statisticsType(q.dtype) },
  ];
}

function checkAttrs(name: string, { blockSize, mostKeys }: SparseAttentionAttrs): void {
  for (const [what, value] of Object.entries({ blockSize, mostKeys })) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new ValueError(name, `${what} is ${value}`, "use a positive integer");
  }
}

function checkRuns(name: string, runs: Meta, [b, kh, blocks]: readonly [number, number, number]): void {
  const [lb, lh, rows, , words] = runs.shape;
  const isOk =
    runs.shape.length === 5 &&
    (lb === 1 || lb === b) &&
    (lh === 1 || lh === kh) &&
    rows === blocks &&
    words === RUN_WORDS;
  if (isOk) return;
  throw new ShapeError(
    name,
    `the list ${describe(runs)} does not fit ${blocks} blocks of queries, batch ${b} and ${kh} key heads`,
    `a list is [1 or batch, 1 or key heads, blocks, runs, ${RUN_WORDS}]`,
  );
}

function checkBias(
  name: string,
  bias: Meta | undefined,
  kind: AttentionBias | undefined,
  { b, h, t, s }: Readonly<Record<"b" | "h" | "t" | "s", number>>,
): void {
  if ((bias === undefined) !== (kind === undefined))
    throw new ValueError(
      name,
      `the attribute bias is ${kind}, the operand ${bias === undefined ? "missing" : describe(bias)}`,
      "give both or none",
    );
  if (bias === undefined || kind === undefined) return;
  const { size } = biasSteps(kind, t, s);
  const [bb, bh, n] = bias.shape;
  if (bias.shape.length === 3 && (bb === 1 || bb === b) && (bh === 1 || bh === h) && n === size) return;
  throw new ShapeError(name, `a "${kind}" bias is ${describe(bias)}`, `give [1 or ${b}, 1 or ${h}, ${size}]`);
}

const operands = (
  [q, k, v, runs, ...rest]: readonly SparseOperands["q"][],
  biasAt: number,
  attrs: SparseAttentionAttrs,
): SparseOperands => ({ q: q!, k: k!, v: v!, runs: runs!, bias: rest[biasAt - 4], attrs });

/** Where backward's operands stand: after q, k, v and the list come output, log-sum-exp, and the gradients of the two; the bias is last. */
const BACKWARD_BIAS = 8;

/**
 * softmax(scale · q kᵀ + bias) v over the keys that a list names for every block of queries: q `[b, h, t, d]`, k `[b, hk, s, d]`,
 * v `[b, hk, s, e]`, list `[1|b, 1|hk, ceil(t / blockSize), runs, 4]` i32, and perhaps a bias of the type that scores are summed in (f32, or
 * f64), which autocast leaves as it is. A run is (first, end, low, high): query r of the
 * block sees keys c with first <= c < end and low + r <= c < high + r. A key in two runs counts twice; an empty run (first = end) is
 * none. Second output: the log-sum-exp of every row, differentiable, so that attention to parts of the keys can be joined. A query that
 * sees nothing gets zeros and -inf.
 * Source: Child et al. 2019 (arXiv:1904.10509) for attention to a part of the keys; Dao et al. 2022 (arXiv:2205.14135), section 3.3.
 */
export const sparseAttention: FusedOp<SparseAttentionAttrs> = fused({
  name: "sparseAttention",
  arity: "variadic",
  autocast: "low",
  readsAnyFloat: [4],
  doc: "attention to the runs of keys that a list names for every block of queries, with its log-sum-exp",
  meta: (inputs, attrs) => {
    checkCount("sparseAttention", inputs, 4, "q, k, v and the list");
    return check("sparseAttention", inputs, attrs);
  },
  flops: ([q, , v], _, { mostKeys }) =>
    2 * mostKeys * (numel(q!.shape) + (numel(q!.shape) / q!.shape[3]!) * v!.shape[3]!),
  decompose: (inputs, attrs) => {
    const [o, lse] = attend(operands(inputs, 4, attrs)) as [Tensor, Tensor];
    return [o, lse.cast(statisticsType(o.dtype))];
  },
  gradient: {
    saves: (inputs) => ({ inputs: inputs.map((_, i) => i), outputs: [0, 1] }),
    vjp: ({ gradient, gradients, input, inputs, output, needs }, attrs) => {
      const given = [0, 1, 2, 3].map(input);
      const ofLse = gradients[1] ?? output(1).zerosLike();
      const bias = inputs.length > 4 ? [input(4)] : [];
      const all = gradient.applyAll(
        sparseAttentionBackward,
        [...given, output(0), output(1), gradient, ofLse, ...bias],
        { ...attrs, needsBias: needs[4] === true },
      );
      const [dq, dk, dv, db] = all;
      if (needs[4] !== true) return [dq, dk, dv];
      return [dq, dk, dv, undefined, db!.sumTo(inputs[4]!.shape)];
    },
  },
});

export interface SparseAttentionBackwardAttrs extends SparseAttentionAttrs {
  /** Whether the gradient by the bias is wanted; else it is empty. */
  readonly needsBias: boolean;
}

/** Gradients by q, k, v and the bias (`[b, h, size of a head's]`, of the bias' type). Source: Dao et al. 2022 (arXiv:2205.14135), algorithm 4. */
export const sparseAttentionBackward: FusedOp<SparseAttentionBackwardAttrs> = fused({
  name: "sparseAttentionBackward",
  arity: "variadic",
  doc: "gradients of sparseAttention by q, k, v and its bias",
  meta: (inputs, attrs) => {
    const operands = "q, k, v, the list, output, log-sum-exp and the gradients of the two";
    checkCount("sparseAttentionBackward", inputs, BACKWARD_BIAS, operands);
    const [q, k, v, runs] = inputs as [Meta, Meta, Meta, Meta];
    const bias = inputs[BACKWARD_BIAS];
    const [o, lse] = check(
      "sparseAttentionBackward",
      [q, k, v, runs, ...(bias === undefined ? [] : [bias])],
      attrs,
    ) as [Meta, Meta];
    mustBe("sparseAttentionBackward", inputs, [q, k, v, runs, o, lse, o, lse]);
    const size = bias === undefined || !attrs.needsBias ? 0 : bias.shape[2]!;
    return [q, k, v, { shape: [q.shape[0]!, q.shape[1]!, size], dtype: lse.dtype }];
  },
  flops: ([q], _, { mostKeys }) => 10 * numel(q!.shape) * mostKeys,
  decompose: (inputs, attrs) => {
    const [o, lse, g, ofLse] = inputs.slice(4);
    return pull(operands(inputs, BACKWARD_BIAS, attrs), { o: o!, lse: lse!, g: g!, ofLse: ofLse! }, attrs.needsBias);
  },
  gradient: {
    through: (inputs, attrs) => {
      const of = operands(inputs, BACKWARD_BIAS, attrs);
      const [o, lse] = attend(of) as [SparseOperands["q"], SparseOperands["q"]];
      return pull(of, { o, lse, g: inputs[6]!, ofLse: inputs[7]! }, attrs.needsBias);
    },
  },
});
