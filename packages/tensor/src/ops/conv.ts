import { isFloat } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError, ValueError } from "../errors.ts";
import { type Meta, type PrimitiveOp, primitive } from "../op.ts";
import { checkShape, numel, type Shape } from "../shape.ts";
import { mustBe } from "./operands.ts";

type Pair = readonly [number, number];

/** Height and width of every quantity. A 1-D convolution is a 2-D one of height 1. */
export interface ConvAttrs {
  readonly stride: Pair;
  /** Zeros added on both sides. */
  readonly padding: Pair;
  readonly dilation: Pair;
  readonly groups: number;
}

const least = { stride: 1, padding: 0, dilation: 1 } as const;

function checkAttrs(name: string, attrs: ConvAttrs): void {
  for (const what of Object.keys(least) as (keyof typeof least)[]) {
    const pair = attrs[what];
    if (pair.length !== 2 || pair.some((v) => !Number.isInteger(v) || v < least[what]))
      throw new ValueError(name, `${what} is [${pair.join(", ")}]`, `use two integers of at least ${least[what]}`);
  }
  if (!Number.isInteger(attrs.groups) || attrs.groups < 1)
    throw new ValueError(name, `groups is ${attrs.groups}`, "use an integer of at least 1");
}

function outputSize(name: string, x: Shape, w: Shape, { stride, padding, dilation }: ConvAttrs): number[] {
  return [0, 1].map((d) => {
    const reach = dilation[d]! * (w[2 + d]! - 1) + 1;
    const padded = x[2 + d]! + 2 * padding[d]!;
    if (reach > padded)
      throw new ShapeError(
        name,
        `kernel reaches ${reach} along spatial axis ${d}, the padded input has ${padded}`,
        "pad the input or use a smaller kernel",
      );
    return Math.floor((padded - reach) / stride[d]!) + 1;
  });
}

/** The output of a convolution of x with w. */
function outputMeta(name: string, x: Meta, w: Meta, attrs: ConvAttrs): Meta {
  if (x.shape.length !== 4 || w.shape.length !== 4)
    throw new ShapeError(
      name,
      `needs [n, c, h, w] and [out, c/groups, kh, kw], got ${describeAll([x, w])}`,
      "conv1d takes [n, c, time]; unsqueeze(0) a single image",
    );
  if (x.dtype !== w.dtype || !isFloat(x.dtype))
    throw new DTypeError(
      name,
      `needs float tensors of one dtype, got ${describeAll([x, w])}`,
      'cast first: x.cast("f32")',
    );
  checkAttrs(name, attrs);
  for (const { shape } of [x, w]) checkShape(name, shape);
  const { groups } = attrs;
  if (x.shape[1]! !== w.shape[1]! * groups || w.shape[0]! % groups !== 0) {
    throw new ShapeError(
      name,
      `input ${describe(x)} and weight ${describe(w)} do not fit ${groups} groups`,
      "the weight's second axis is channels / groups, and groups divides out",
    );
  }
  return { shape: [x.shape[0]!, w.shape[0]!, ...outputSize(name, x.shape, w.shape, attrs)], dtype: x.dtype };
}

/**
 * Cross-correlation: x `[n, channels, h, w]`, weight `[out, channels / groups, kh, kw]` -> `[n, out, h', w']`.
 */
export const conv2d: PrimitiveOp<ConvAttrs> = primitive({
  name: "conv2d",
  arity: 2,
  autocast: "low",
  doc: "2-D cross-correlation, NCHW, with stride, padding, dilation and groups",
  meta: ([x, w], attrs) => [outputMeta("conv2d", x!, w!, attrs)],
  flops: ([, w], [y]) => 2 * numel(y!.shape) * numel(w!.shape.slice(1)),
  gradient: {
    saves: () => ({ inputs: [0, 1] }),
    vjp: ({ gradient, input, inputs: [x, w], needs }, attrs) => [
      needs[0] ? gradient.apply(conv2dInputGradient, [gradient, input(1)], { ...attrs, shape: x!.shape }) : undefined,
      needs[1] ? gradient.apply(conv2dWeightGradient, [gradient, input(0)], { ...attrs, shape: w!.shape }) : undefined,
    ],
  },
});

interface Target extends ConvAttrs {
  readonly shape: Shape;
}

/** From the output's gradient and the weight; bilinear in both, so its own gradients are convolutions again. */
export const conv2dInputGradient: PrimitiveOp<Target> = primitive({
  name: "conv2dInputGradient",
  arity: 2,
  autocast: "low",
  doc: "gradient of conv2d by its input, from the output's gradient and the weight",
  meta: (inputs, attrs) => {
    const [g, w] = inputs as [Meta, Meta];
    const x = { shape: attrs.shape, dtype: g.dtype };
    mustBe("conv2dInputGradient", inputs, [outputMeta("conv2dInputGradient", x, w, attrs), w]);
    return [x];
  },
  flops: ([g, w]) => 2 * numel(g!.shape) * numel(w!.shape.slice(1)),
  gradient: {
    saves: () => ({ inputs: [0, 1] }),
    vjp: ({ gradient, input, inputs: [, w], needs }, attrs) => [
      needs[0] ? gradient.apply(conv2d, [gradient, input(1)], attrs) : undefined,
      needs[1] ? gradient.apply(conv2dWeightGradient, [input(0), gradient], { ...attrs, shape: w!.shape }) : undefined,
    ],
  },
});

/** From the output's gradient and the input. */
export const conv2dWeightGradient: PrimitiveOp<Target> = primitive({
  name: "conv2dWeightGradient",
  arity: 2,
  autocast: "low",
  doc: "gradient of conv2d by its weight, from the output's gradient and the input",
  meta: (inputs, attrs) => {
    const [g, x] = inputs as [Meta, Meta];
    const w = { shape: attrs.shape, dtype: g.dtype };
    mustBe("conv2dWeightGradient", inputs, [outputMeta("conv2dWeightGradient", x, w, attrs), x]);
    return [w];
  },
  flops: ([g], [w]) => 2 * numel(g!.shape) * numel(w!.shape.slice(1)),
  gradient: {
    saves: () => ({ inputs: [0, 1] }),
    vjp: ({ gradient, input, inputs: [, x], needs }, attrs) => [
      needs[0] ? gradient.apply(conv2d, [input(1), gradient], attrs) : undefined,
      needs[1] ? gradient.apply(conv2dInputGradient, [input(0), gradient], { ...attrs, shape: x!.shape }) : undefined,
    ],
  },
});
