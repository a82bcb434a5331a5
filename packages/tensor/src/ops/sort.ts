import { ValueError } from "../errors.ts";
import { type FusedOp, fused, type PrimitiveOp, primitive } from "../op.ts";
import { checkAxes } from "../shape.ts";
import { scatterAddAlong } from "./gather.ts";

export interface SortAttrs {
  readonly axis: number;
  readonly descending: boolean;
}

/** Stable; NaN last. Outputs: values, and the i32 positions they came from. */
export const sort: PrimitiveOp<SortAttrs> = primitive({
  name: "sort",
  arity: 1,
  doc: "stable sort along an axis (NaN last), with the positions",
  meta: ([x], { axis }) => {
    checkAxes("sort", [axis], x!.shape.length);
    return [x!, { shape: x!.shape, dtype: "i32" }];
  },
  flops: ([x], _, { axis }) => x!.shape.reduce((a, b) => a * b, 1) * Math.ceil(Math.log2(x!.shape[axis]! + 1)),
  gradient: {
    saves: () => ({ outputs: [1] }),
    vjp: ({ gradient, output, inputs: [x] }, { axis }) => [
      gradient.apply(scatterAddAlong, [output(1), gradient], { axis, size: x!.shape[axis]! }),
    ],
  },
});

export interface TopkAttrs {
  readonly axis: number;
  readonly k: number;
}

/** The k largest along an axis, largest first, with their positions. */
export const topk: FusedOp<TopkAttrs> = fused({
  name: "topk",
  arity: 1,
  doc: "the k largest elements along an axis, with their positions",
  meta: ([x], { axis, k }) => {
    checkAxes("topk", [axis], x!.shape.length);
    if (!Number.isInteger(k) || k < 0 || !(k <= x!.shape[axis]!)) {
      throw new ValueError(
        "topk",
        `k is ${k}, axis ${axis} of [${x!.shape.join(", ")}] has ${x!.shape[axis]} elements`,
        "use an integer k of at most the axis' size",
      );
    }
    const shape = x!.shape.map((s, d) => (d === axis ? k : s));
    return [
      { shape, dtype: x!.dtype },
      { shape, dtype: "i32" },
    ];
  },
  decompose: ([x], { axis, k }) => x!.applyAll(sort, [x!], { axis, descending: true }).map((t) => t.narrow(axis, 0, k)),
  gradient: {
    saves: () => ({ outputs: [1] }),
    vjp: ({ gradient, output, inputs: [x] }, { axis }) => [
      gradient.apply(scatterAddAlong, [output(1), gradient], { axis, size: x!.shape[axis]! }),
    ],
  },
});
