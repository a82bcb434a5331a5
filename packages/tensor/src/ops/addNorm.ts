import { isFloat, promote } from "../dtype.ts";
import { DTypeError, describeAll, ShapeError, ValueError } from "../errors.ts";
import { type FusedOp, fused, type Meta, type VjpContext } from "../op.ts";
import { numel, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  type CountingStep,
  checkFixedPoint,
  checkStep,
  type FixedPoint,
  fixedPointAdd,
  splitRecord,
} from "./fixedPoint.ts";
import {
  gradientMeta,
  layerNorm,
  layerNormBackward,
  type NormAttrs,
  resultMeta,
  rmsNorm,
  rmsNormBackward,
  rowMeta,
} from "./norm.ts";
import { mustBe } from "./operands.ts";

// A residual sum and the norm that the next branch begins with, in one pass over the rows. Inputs: stream, increment,
// weight and, for a layer norm, bias; without one it is an RMS norm. The sum is rounded as if it had been an op of its own.

function checkCount(name: string, { length }: readonly Meta[], least = 3): void {
  if (length === least || length === least + 1) return;
  throw new ValueError(
    name,
    `takes ${least} or ${least + 1} tensors, got ${length}`,
    `stream, ${least === 3 ? "increment, " : ""}weight and, for a layer norm, bias`,
  );
}

/** Outputs of a norm: y, and per row the statistics (mean of a layer norm, 1/σ). */
function normMeta(name: string, x: Meta, parameters: readonly Meta[], attrs: NormAttrs): Meta[] {
  const row = rowMeta(name, [x, ...parameters]);
  return [resultMeta(name, x, attrs), ...parameters.map(() => row)];
}

const normAttrs = ({ eps, to }: NormAttrs): NormAttrs => (to === undefined ? { eps } : { eps, to });

const norm = (x: Tensor, parameters: readonly Tensor[], attrs: NormAttrs): Tensor[] =>
  parameters.length === 2
    ? x.applyAll(layerNorm, [x, ...parameters], normAttrs(attrs))
    : x.applyAll(rmsNorm, [x, ...parameters], normAttrs(attrs));

const flops = ([x]: readonly Meta[]): number => 10 * numel(x!.shape);

const saves = (hasMean: boolean) => ({ inputs: [2], outputs: hasMean ? [0, 2, 3] : [0, 2] });

/** Weight and statistics, as the norm's backward op takes them. */
const rememberedBy = ({ input, output }: VjpContext, hasMean: boolean): Tensor[] =>
  hasMean ? [input(2), output(2), output(3)] : [input(2), output(2)];

/**
 * x + r and norm(x + r). The increment may have a coarser float type than the stream, which the sum keeps. Outputs: the sum, the
 * norm, its statistics.
 */
export const addNorm: FusedOp<NormAttrs> = fused({
  name: "addNorm",
  arity: "variadic",
  autocast: "high",
  readsAnyFloat: [1],
  doc: "x + r, and its layer norm (with a bias) or RMS norm (without)",
  mayAlias: 0,
  meta: (inputs, attrs) => {
    checkCount("addNorm", inputs);
    const [x, r, ...parameters] = inputs as [Meta, Meta];
    if (!sameShape(x.shape, r.shape)) {
      throw new ShapeError(
        "addNorm",
        `stream and increment differ: ${describeAll([x, r])}`,
        "both need one shape and float types",
      );
    }
    if (!isFloat(r.dtype) || promote(x.dtype, r.dtype) !== x.dtype) {
      throw new DTypeError(
        "addNorm",
        `the stream cannot hold the increment: ${describeAll([x, r])}`,
        "cast the stream first: x.cast(increment.dtype)",
      );
    }
    return [x, ...normMeta("addNorm", x, parameters, attrs)];
  },
  flops,
  decompose: ([x, r, ...parameters], attrs) => {
    const sum = x!.add(r!);
    return [sum, ...norm(sum, parameters, attrs)];
  },
  gradient: {
    saves: ({ length }) => saves(length === 4),
    vjp: (context, { eps }) => {
      const { gradients, inputs, output } = context;
      const [direct, g] = gradients;
      const { dtype } = inputs[1]!;
      if (g === undefined) return [direct, direct?.cast(dtype)];
      const hasMean = inputs.length === 4;
      const operands = [output(0), ...rememberedBy(context, hasMean), g, ...(direct === undefined ? [] : [direct])];
      const attrs = { eps, hasMean };
      if (dtype !== inputs[0]!.dtype) return g.applyAll(addNormBackward, operands, { ...attrs, to: dtype });
      const [byStream, ...rest] = g.applyAll(addNormBackward, operands, attrs);
      return [byStream, byStream, ...rest];
    },
  },
});

/** `to`: the type of the increment, where its gradient is wanted in another than the stream's. */
export interface AddNormBackwardAttrs extends NormAttrs {
  /** Whether the norm has a mean and a bias. */
  readonly hasMean: boolean;
  /** Of a sum that is an i32 fixed-point stream. */
  readonly fractionBits?: number;
}

/**
 * Gradients of addNorm. Inputs: the sum, weight, statistics, the norm's gradient and, where one arrived, the sum's. Outputs: the
 * stream's gradient; the same in the type `to`, where that is given; those of weight and bias.
 */
export const addNormBackward: FusedOp<AddNormBackwardAttrs> = fused({
  name: "addNormBackward",
  arity: "variadic",
  doc: "gradients of addNorm by stream, increment, weight and bias",
  meta: (inputs, attrs) => {
    const { hasMean, to } = attrs;
    const least = hasMean ? 5 : 4;
    if (inputs.length !== least && inputs.length !== least + 1) {
      throw new ValueError(
        "addNormBackward",
        `takes ${least} or ${least + 1} tensors, got ${inputs.length}`,
        "the sum, weight, statistics, the norm's gradient and, if any, the sum's",
      );
    }
    const [sum, w] = inputs as [Meta, Meta];
    const x = streamValue("addNormBackward", sum, attrs.fractionBits);
    const row = rowMeta("addNormBackward", [x, w]);
    const g = gradientMeta("addNormBackward", x, inputs[least - 1]!);
    mustBe("addNormBackward", inputs, [sum, w, ...(hasMean ? [row, row] : [row]), g, x].slice(0, inputs.length));
    return [x, ...(to === undefined ? [] : [resultMeta("addNormBackward", x, attrs)]), w, ...(hasMean ? [w] : [])];
  },
  flops: ([x]) => 13 * numel(x!.shape),
  decompose: (inputs, attrs) => pull(inputs, attrs),
  gradient: "decomposition",
});

function pull([sum, ...rest]: readonly Tensor[], attrs: AddNormBackwardAttrs): Tensor[] {
  const { eps, hasMean, to, fractionBits } = attrs;
  const inputs = [fractionBits === undefined ? sum! : sum!.dequantise(fractionBits), ...rest];
  const count = hasMean ? 5 : 4;
  const direct = inputs[count];
  const of = inputs.slice(0, count);
  const [through, ...parameters] = of[0]!.applyAll(hasMean ? layerNormBackward : rmsNormBackward, of, { eps });
  const byStream = direct === undefined ? through! : direct.add(through!);
  return [byStream, ...(to === undefined ? [] : [byStream.cast(to)]), ...parameters];
}

/** The meta of the value of a sum: of a fixed-point stream f32. */
function streamValue(name: string, sum: Meta, fractionBits: number | undefined): Meta {
  if (fractionBits === undefined) return sum;
  checkFixedPoint(name, sum, "i32", { fractionBits });
  return { shape: sum.shape, dtype: "f32" };
}

export interface FixedPointNorm extends FixedPoint, NormAttrs {}

/** The norm of an i32 fixed-point stream's value. Inputs: stream, weight and, for a layer norm, bias. Outputs: y and the statistics. */
export const fixedPointNorm: FusedOp<FixedPointNorm> = fused({
  name: "fixedPointNorm",
  arity: "variadic",
  autocast: "high",
  doc: "layer norm (with a bias) or RMS norm (without) of a fixed-point stream's value",
  meta: (inputs, attrs) => {
    checkCount("fixedPointNorm", inputs, 2);
    const [stream, ...parameters] = inputs as [Meta, Meta];
    const x = streamValue("fixedPointNorm", stream, attrs.fractionBits);
    return normMeta("fixedPointNorm", x, parameters, attrs);
  },
  flops,
  decompose: ([stream, ...parameters], { fractionBits, ...attrs }) =>
    norm(stream!.dequantise(fractionBits), parameters, attrs),
  gradient: "decomposition",
});

export interface CouplingNorm extends CountingStep, NormAttrs {}

const hasMean = ({ length }: readonly Meta[], { row }: CountingStep): boolean => length === (row === undefined ? 4 : 5);

/**
 * x ± quantise(f) modulo 2^32 and the norm of the new stream's value: a half-step of an additive coupling with the
 * beginning of the branch that reads its result. Outputs: the stream, the norm, its statistics and, with `row`, the record
 * that comes last among the operands, as for `fixedPointAdd`.
 */
export const fixedPointAddNorm: FusedOp<CouplingNorm> = fused({
  name: "fixedPointAddNorm",
  arity: "variadic",
  autocast: "high",
  readsAnyFloat: [1],
  doc: "x ± quantise(f) modulo 2^32, and the layer or RMS norm of its value; [saturated, wrapped, NaN] added to a row of a record",
  mayAlias: 0,
  mutates: (inputs, { row }) => {
    if (row === undefined) return [];
    // The record is the last output: behind the sum, the norm, and a statistic for each of its parameters.
    const record = inputs.length - 1;
    return [...Array.from({ length: record }, () => undefined), record];
  },
  meta: (inputs, attrs) => {
    const { operands, record } = splitRecord("fixedPointAddNorm", inputs, attrs);
    checkCount("fixedPointAddNorm", operands);
    checkStep("fixedPointAddNorm", operands, attrs);
    const [x, , ...parameters] = operands as [Meta, Meta];
    const norms = normMeta("fixedPointAddNorm", { shape: x.shape, dtype: "f32" }, parameters, attrs);
    return [x, ...norms, ...(record === undefined ? [] : [record])];
  },
  flops,
  decompose: (inputs, { fractionBits, sign, row, ...attrs }) => {
    const step = { fractionBits, sign, ...(row === undefined ? {} : { row }) };
    const { operands, record } = splitRecord("fixedPointAddNorm", inputs, step);
    const [x, f, ...parameters] = operands as [Tensor, Tensor];
    const [sum, ...counted] = x.applyAll(fixedPointAdd, [x, f, ...(record === undefined ? [] : [record])], step);
    return [sum!, ...norm(sum!.dequantise(fractionBits), parameters, attrs), ...counted];
  },
  gradient: {
    saves: (inputs, attrs) => saves(hasMean(inputs, attrs)),
    vjp: (context, attrs) => {
      const { fractionBits, sign, eps } = attrs;
      const { gradients, inputs, output } = context;
      const [direct, g] = gradients;
      const byIncrement = (t: Tensor | undefined): Tensor | undefined =>
        (sign === 1 ? t : t?.neg())?.cast(inputs[1]!.dtype);
      if (g === undefined) return [direct, byIncrement(direct)];
      const isLayerNorm = hasMean(inputs, attrs);
      const operands = [output(0).dequantise(fractionBits), ...rememberedBy(context, isLayerNorm), g];
      const back = isLayerNorm ? layerNormBackward : rmsNormBackward;
      const [through, ...parameters] = g.applyAll(back, operands, { eps });
      const byStream = direct === undefined ? through : direct.add(through!);
      return [byStream, byIncrement(byStream), ...parameters];
    },
  },
});
