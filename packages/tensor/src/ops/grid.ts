import { DTypeError, describe, describeAll, ShapeError, ValueError } from "../errors.ts";
import * as e from "../expr/expr.ts";
import { type ElementwiseOp, elementwise, type FusedOp, fused, type Meta } from "../op.ts";
import { numel, sameShape } from "../shape.ts";
import { type CouplingStep, countsMeta, type FixedPoint } from "./fixedPoint.ts";

// Fixed point without integers, for devices that have none: float32 numbers that are multiples of 2^-s. Sums are exact, and
// a subtraction undoes an addition bit for bit, while no number exceeds 2^(24-s). Zero is never negative, so that a sum that
// cancels is the zero that was there before.

/** The largest multiple of the step up to which every one is a float32. */
const LARGEST = 2 ** 24;

function checkGrid(name: string, inputs: readonly Meta[], { fractionBits }: FixedPoint): void {
  const bad = inputs.find((x) => x.dtype !== "f32");
  if (bad !== undefined) throw new DTypeError(name, `needs f32, got ${describe(bad)}`, 'cast it first: x.cast("f32")');
  if (!Number.isInteger(fractionBits) || fractionBits < 0 || fractionBits > 24)
    throw new ValueError(name, `fractionBits is ${fractionBits}`, "use an integer from 0 to 24");
}

/** The nearest multiple of 2^-s within ±2^(24-s), half to even; NaN is 0. */
export const snapToGrid: ElementwiseOp<FixedPoint> = elementwise({
  name: "snapToGrid",
  arity: 1,
  doc: "the nearest multiple of 2^-s within ±2^(24-s), half to even, NaN to 0; straight-through gradient",
  meta: ([x], attrs) => {
    checkGrid("snapToGrid", [x!], attrs);
    return [x!];
  },
  body: ([x], { fractionBits }) => {
    const steps = e.rint(e.mul(x!, 2 ** fractionBits));
    const bounded = e.select(e.lt(LARGEST, steps), LARGEST, e.select(e.lt(steps, -LARGEST), -LARGEST, steps));
    // NaN equals nothing, and -0 equals 0.
    const whole = e.select(e.eq(steps, 0), 0, e.select(e.eq(steps, steps), bounded, 0));
    return e.select(e.eq(whole, 0), 0, e.mul(whole, 2 ** -fractionBits));
  },
  gradient: { saves: () => ({}), vjp: (context) => [context.gradient] },
});

/**
 * x ± snapToGrid(f): the coupling step of grid streams. Second output: how many increments were clipped to the range, how many
 * sums left it (those are not undone exactly), how many increments were NaN. May be written over x.
 */
export const gridAdd: FusedOp<CouplingStep> = fused({
  name: "gridAdd",
  arity: 2,
  doc: "x ± snapToGrid(f) in f32, with counts [saturated, out of range, NaN]",
  mayAlias: 0,
  meta: (inputs, attrs) => {
    const [x, f] = inputs as [Meta, Meta];
    checkGrid("gridAdd", inputs, attrs);
    if (!sameShape(x.shape, f.shape)) {
      throw new ShapeError(
        "gridAdd",
        `stream and increment differ in shape: ${describeAll([x, f])}`,
        "F must return the shape of its input stream",
      );
    }
    return [x, countsMeta];
  },
  flops: ([x]) => 3 * numel(x!.shape),
  decompose: ([x, f], { fractionBits, sign }) => {
    const largest = LARGEST * 2 ** -fractionBits;
    const q = f!.apply(snapToGrid, [f!], { fractionBits });
    const y = sign === 1 ? x!.add(q) : x!.sub(q);
    const count = (t: typeof f): typeof f => t!.cast("i32").sum().reshape([1]);
    const beyond = f!
      .mul(2 ** fractionBits)
      .round()
      .abs()
      .greater(LARGEST);
    return [y, count(beyond)!.concat([count(y.abs().lessEqual(largest).logicalNot())!, count(f!.isNaN())!], 0)];
  },
  gradient: {
    saves: () => ({}),
    vjp: ({ gradients: [g] }, { sign }) => [g, sign === 1 ? g : g?.neg()],
  },
});
