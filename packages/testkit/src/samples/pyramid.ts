import { type PyramidAttrs, type PyramidGradientAttrs, pyramidLevels } from "@revnet-zero/tensor";
import fc from "fast-check";
import type { Plan, PlanOptions, SamplerTable } from "../sample.ts";
import { axisSize } from "../shapes.ts";

const sizes = (options: PlanOptions) => ({
  b: fc.integer({ min: 1, max: 2 }),
  h: fc.integer({ min: 1, max: 2 }),
  t: axisSize(options),
  // Eight 16-bit floats are what a kernel moves at once.
  d: fc.constantFrom(1, 3, 8),
  radices: fc.array(fc.integer({ min: 2, max: 4 }), { maxLength: 3 }),
  isWhole: fc.boolean(),
});

export const pyramidSamplers: Pick<SamplerTable, "pyramid" | "pyramidGradient"> = {
  pyramid: {
    dtypes: ["f32", "f64", "bf16", "f16"],
    compare: "rounded",
    isMultilinear: true,
    plan: (options): fc.Arbitrary<Plan<PyramidAttrs>> =>
      fc.record(sizes(options)).map(({ b, h, t, d, radices, isWhole }) => ({
        operands: [{ shape: [b, h, t, d], dtype: options.dtype }],
        attrs: { radices, isWhole },
      })),
  },
  pyramidGradient: {
    dtypes: ["f32", "f64", "bf16", "f16"],
    compare: "rounded",
    isMultilinear: true,
    plan: (options): fc.Arbitrary<Plan<PyramidGradientAttrs>> =>
      fc.record(sizes(options)).map(({ b, h, t, d, radices, isWhole }) => {
        const rows = pyramidLevels(t, { radices, isWhole }).reduce((n, level) => n + level.rows, 0);
        return {
          operands: [{ shape: [b, h, rows, d], dtype: options.dtype }],
          attrs: { radices, isWhole, length: t },
        };
      }),
  },
};
