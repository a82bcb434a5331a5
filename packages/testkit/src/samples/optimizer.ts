import type { DType, Shape } from "@revnet-zero/tensor";
import fc from "fast-check";
import type { OperandPlan, SamplerTable } from "../sample.ts";
import { shapes } from "../shapes.ts";
import type { Interval } from "../values.ts";

/** A factor, the schedule, then parameter, gradient, moments and, where it has one, the copy of every group. */
function adamwOperands(list: readonly Shape[], dtype: DType, schedule: readonly number[], copy?: DType): OperandPlan[] {
  const positive: Interval = [0.1, 2];
  const group = (shape: Shape): OperandPlan[] => [
    { shape, dtype, isContiguous: true },
    { shape, dtype },
    { shape, dtype, isContiguous: true },
    { shape, dtype, isContiguous: true, domain: positive },
    ...(copy === undefined ? [] : [{ shape, dtype: copy, isContiguous: true }]),
  ];
  const given = scheduled(dtype, schedule);
  return [{ shape: [], dtype: given.dtype, domain: positive }, given, ...list.flatMap(group)];
}

/** What changes from step to step: these numbers, one after the other. */
function scheduled(dtype: DType, numbers: readonly number[]): OperandPlan {
  let at = 0;
  const values = (): number => numbers[at++ % numbers.length]!;
  return { shape: [numbers.length], dtype: dtype === "f64" ? "f64" : "f32", isContiguous: true, values };
}

const signed =
  (low: number, high: number): NonNullable<OperandPlan["values"]> =>
  (random) =>
    random.pick([-1, 1]) * random.between(low, high);

/**
 * A factor, then parameter, gradient and momentum. The step is a sign: of the gradient's and the momentum's shares one must be
 * clearly larger, or rounding decides.
 */
function lionOperands(list: readonly Shape[], dtype: DType, gradientWins: boolean): OperandPlan[] {
  const momentum = gradientWins ? signed(0.001, 0.01) : signed(1, 2);
  const group = (shape: Shape): OperandPlan[] => [
    { shape, dtype, isContiguous: true, values: signed(0, 2) },
    { shape, dtype, values: signed(0.5, 2) },
    { shape, dtype, isContiguous: true, values: momentum },
  ];
  const factor: OperandPlan = { shape: [], dtype: dtype === "f64" ? "f64" : "f32", values: (r) => r.between(0.5, 1.5) };
  return [factor, scheduled(dtype, [0.01]), ...list.flatMap(group)];
}

export const optimizerSamplers: Pick<SamplerTable, "adamw" | "adamwCopying" | "lion"> = {
  adamw: {
    dtypes: ["f32", "f64"],
    compare: "rounded",
    plan: ({ dtype, ...sizes }) =>
      fc
        .tuple(
          fc.array(shapes(sizes), { minLength: 1, maxLength: 3 }),
          fc.integer({ min: 1, max: 1000 }),
          fc.constantFrom(0, 0.1),
        )
        .map(([list, step, weightDecay]) => ({
          operands: adamwOperands(list, dtype, [0.01, 1 - 0.9 ** step, 1 - 0.99 ** step]),
          attrs: { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay },
        })),
  },
  adamwCopying: {
    dtypes: ["f32"],
    needs: ["bf16", "f16"],
    compare: "parts",
    plan: (sizes) =>
      fc
        .tuple(
          fc.array(shapes(sizes), { minLength: 1, maxLength: 3 }),
          fc.integer({ min: 1, max: 1000 }),
          fc.constantFrom<DType>("bf16", "f16"),
        )
        .map(([list, step, copy]) => ({
          operands: adamwOperands(list, "f32", [0.01, 1 - 0.9 ** step, 1 - 0.99 ** step], copy),
          attrs: { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1 },
        })),
  },
  lion: {
    dtypes: ["f32", "f64"],
    compare: "rounded",
    plan: ({ dtype, ...sizes }) =>
      fc
        .tuple(fc.array(shapes(sizes), { minLength: 1, maxLength: 3 }), fc.boolean(), fc.constantFrom(0, 0.1))
        .map(([list, gradientWins, weightDecay]) => ({
          operands: lionOperands(list, dtype, gradientWins),
          attrs: { beta1: 0.9, beta2: 0.99, weightDecay },
        })),
  },
};
