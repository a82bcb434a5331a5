import { allDTypes, type DType, isFloat } from "@revnet-zero/tensor";
import fc from "fast-check";
import type { SamplerTable } from "../sample.ts";
import { shapes } from "../shapes.ts";

const key = fc.tuple(fc.nat({ max: 0xffffffff }), fc.nat({ max: 0xffffffff }));
const constants = fc.constantFrom(0, 1, -1, 2.5, 3.5, 300, -40000, 1e10, Number.NaN, Number.NEGATIVE_INFINITY);

export const copySamplers: Pick<SamplerTable, "fill" | "copy" | "cast" | "assign" | "randomBits" | "dropout"> = {
  fill: {
    dtypes: allDTypes,
    compare: "bits",
    plan: ({ dtype, ...sizes }) =>
      fc.tuple(shapes(sizes), constants).map(([shape, value]) => ({ operands: [], attrs: { shape, dtype, value } })),
  },
  copy: {
    dtypes: allDTypes,
    compare: "bits",
    plan: ({ dtype, ...sizes }) => shapes(sizes).map((shape) => ({ operands: [{ shape, dtype }], attrs: undefined })),
  },
  cast: {
    dtypes: allDTypes,
    compare: "bits",
    variety: 4,
    widen: ({ dtype }) => ({ dtype: isFloat(dtype) ? "f64" : dtype }),
    plan: ({ dtype, device = allDTypes, ...sizes }) =>
      fc.tuple(shapes(sizes), fc.constantFrom<DType>(...device)).map(([shape, to]) => ({
        operands: [{ shape, dtype }],
        attrs: { dtype: to },
      })),
  },
  assign: {
    dtypes: allDTypes,
    compare: "bits",
    plan: ({ dtype, ...sizes }) =>
      shapes(sizes).map((shape) => ({
        operands: [
          { shape, dtype, isContiguous: true },
          { shape, dtype },
        ],
        attrs: undefined,
      })),
  },
  randomBits: {
    dtypes: ["i32"],
    compare: "bits",
    plan: ({ dtype: _, ...sizes }) =>
      fc.tuple(shapes(sizes), key).map(([shape, key]) => ({ operands: [], attrs: { shape, key } })),
  },
  dropout: {
    dtypes: allDTypes.filter(isFloat),
    compare: "rounded",
    plan: ({ dtype, ...sizes }) =>
      fc.tuple(shapes(sizes), key, fc.constantFrom(0, 0.1, 0.5, 0.9)).map(([shape, key, p]) => ({
        operands: [{ shape, dtype }],
        attrs: { p, key },
      })),
  },
};
