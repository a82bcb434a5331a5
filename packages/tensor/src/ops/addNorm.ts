import { describeAll, ShapeError, ValueError } from "../errors.ts";
import { type FusedOp, fused, type Meta, type VjpContext } from "../op.ts";
import { numel, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type CouplingStep, checkStep, countsMeta, fixedPointAdd } from "./fixedPoint.ts";
import { layerNorm, layerNormBackward, type NormAttrs, rmsNorm, rmsNormBackward, rowMeta } from "./norm.ts";

// A residual sum and the norm that the next branch begins with, in one pass over the rows. Inputs: stream, increment,
// weight and, for a layer norm, bias; without one it is an RMS norm. The sum is rounded as if it had been an op of its own.

function checkCount(name: string, { length }: readonly Meta[]): void {
  if (length === 3 || length === 4) return;
  throw new ValueError(
    name,
    `takes 3 or 4 tensors, got ${length}`,
    "stream, increment, weight and, for a layer norm, bias",
  );
}

/** Outputs of a norm: y, and per row the statistics (mean of a layer norm, 1/σ). */
function normMeta(name: string, x: Meta, parameters: readonly Meta[]): Meta[] {
  const row = rowMeta(name, [x, ...parameters]);
  return [x, ...parameters.map(() => row)];
}

const norm = (x: Tensor, parameters: readonly Tensor[], eps: number): Tensor[] =>
  parameters.length === 2
    ? x.applyAll(layerNorm, [x, ...parameters], { eps })
    : x.applyAll(rmsNorm, [x, ...parameters], { eps });

const flops = ([x]: readonly Meta[]): number => 10 * numel(x!.shape);

/** The sum's whole gradient (what arrived at it, and what came through the norm), then those of the parameters. */
function pull(
  { gradients: [direct, g], input, inputs, output }: VjpContext,
  eps: number,
  value: (sum: Tensor) => Tensor,
): (Tensor | undefined)[] {
  if (g === undefined) return [direct];
  const isLayer = inputs.length === 4;
  const statistics = isLayer ? [output(2), output(3)] : [output(2)];
  const operands = [value(output(0)), input(2), ...statistics, g];
  const [through, ...parameters] = g.applyAll(isLayer ? layerNormBackward : rmsNormBackward, operands, { eps });
  return [direct === undefined ? through : direct.add(through!), ...parameters];
}

const saves = (inputs: readonly Meta[]) => ({ inputs: [2], outputs: inputs.length === 4 ? [0, 2, 3] : [0, 2] });

/** x + r and norm(x + r). Outputs: the sum, the norm, its statistics. */
export const addNorm: FusedOp<NormAttrs> = fused({
  name: "addNorm",
  arity: "variadic",
  autocast: "high",
  doc: "x + r, and its layer norm (with a bias) or RMS norm (without)",
  mayAlias: 0,
  meta: (inputs) => {
    checkCount("addNorm", inputs);
    const [x, r, ...parameters] = inputs as [Meta, Meta];
    if (!sameShape(x.shape, r.shape) || x.dtype !== r.dtype) {
      throw new ShapeError(
        "addNorm",
        `stream and increment differ: ${describeAll([x, r])}`,
        "both need one shape and one dtype",
      );
    }
    return [x, ...normMeta("addNorm", x, parameters)];
  },
  flops,
  decompose: ([x, r, ...parameters], { eps }) => {
    const sum = x!.add(r!);
    return [sum, ...norm(sum, parameters, eps)];
  },
  gradient: {
    saves,
    vjp: (context, { eps }) => {
      const [g, ...parameters] = pull(context, eps, (sum) => sum);
      return [g, g, ...parameters];
    },
  },
});

export interface CouplingNorm extends CouplingStep, NormAttrs {}

/**
 * x ± quantise(f) modulo 2^32 and the norm of the new stream's value: a half-step of an additive coupling with the
 * beginning of the branch that reads its result. Outputs: the stream, the norm, its statistics, and the counts of `fixedPointAdd`.
 */
export const fixedPointAddNorm: FusedOp<CouplingNorm> = fused({
  name: "fixedPointAddNorm",
  arity: "variadic",
  autocast: "high",
  doc: "x ± quantise(f) modulo 2^32, the layer or RMS norm of its value, and counts [saturated, wrapped, NaN]",
  mayAlias: 0,
  meta: (inputs, attrs) => {
    checkCount("fixedPointAddNorm", inputs);
    checkStep("fixedPointAddNorm", inputs, attrs);
    const [x, , ...parameters] = inputs as [Meta, Meta];
    return [x, ...normMeta("fixedPointAddNorm", { shape: x.shape, dtype: "f32" }, parameters), countsMeta];
  },
  flops,
  decompose: ([x, f, ...parameters], { fractionBits, sign, eps }) => {
    const [sum, counts] = x!.applyAll(fixedPointAdd, [x!, f!], { fractionBits, sign });
    return [sum!, ...norm(sum!.dequantise(fractionBits), parameters, eps), counts!];
  },
  gradient: {
    saves,
    vjp: (context, { eps, fractionBits, sign }) => {
      const [g, ...parameters] = pull(context, eps, (sum) => sum.dequantise(fractionBits));
      return [g, sign === 1 ? g : g?.neg(), ...parameters];
    },
  },
});
