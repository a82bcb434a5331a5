import {
  type AttrsOf,
  allDTypes,
  type DType,
  type ElementwiseOp,
  type expr,
  type Meta,
  type OpName,
  ops,
} from "@revnet-zero/tensor";
import fc from "fast-check";
import type { Plan, PlanOptions, Sampler, SamplerTable } from "../sample.ts";
import { broadcastableShapes, shapes } from "../shapes.ts";
import type { Interval } from "../values.ts";

type Table = typeof ops;
/** Elementwise ops without attributes: their samplers follow from arity, domain and the types their rule accepts. */
type PlainName = { [K in OpName]: Table[K] extends ElementwiseOp<undefined> ? K : never }[OpName];

/** Operands whose interval is not the op's: a divisor apart from its dividend's multiples, a shift's distance. */
const domains: { readonly [K in PlainName]?: readonly Interval[] } = {
  mod: [
    [1, 1.15],
    [0.6, 0.9],
  ],
  shiftLeft: [
    [-(2 ** 31), 2 ** 31 - 1],
    [0, 31],
  ],
  shiftRight: [
    [-(2 ** 31), 2 ** 31 - 1],
    [0, 31],
  ],
};

/** The operands' types when the free ones are `dtype`, or undefined where the op takes no such. */
function operandTypes(op: ElementwiseOp, dtype: DType): readonly DType[] | undefined {
  const all = new Array<DType>(op.arity as number).fill(dtype);
  const conditioned = all.map((d, i) => (i === 0 ? "bool" : d));
  return [all, conditioned].find((types) => accepts(op, types));
}

function accepts(op: ElementwiseOp, types: readonly DType[]): boolean {
  try {
    op.meta(
      types.map((dtype): Meta => ({ shape: [], dtype })),
      undefined,
    );
    return true;
  } catch {
    return false;
  }
}

function plainSampler(name: PlainName): Sampler<undefined> {
  const op: ElementwiseOp = ops[name];
  return {
    dtypes: allDTypes.filter((d) => operandTypes(op, d) !== undefined),
    compare: "rounded",
    plan: ({ dtype, ...sizes }: PlanOptions): fc.Arbitrary<Plan<undefined>> => {
      const types = operandTypes(op, dtype)!;
      return broadcastableShapes(types.length, sizes).map((operands) => ({
        attrs: undefined,
        operands: operands.map((shape, i) => {
          const domain = domains[name]?.[i] ?? op.domain;
          return { shape, dtype: types[i]!, ...(domain === undefined ? {} : { domain }) };
        }),
      }));
    },
  };
}

const isPlain = (name: OpName): name is PlainName => {
  const op = ops[name];
  return op.kind === "elementwise" && name !== "quantise" && name !== "dequantise";
};

const plain = Object.fromEntries(
  (Object.keys(ops) as OpName[]).filter(isPlain).map((name) => [name, plainSampler(name)]),
) as unknown as { readonly [K in PlainName]: Sampler<AttrsOf<Table[K]>> };

const fractionBits = fc.oneof(fc.constant(20), fc.integer({ min: 0, max: 30 }));

/** Increments around the resolution and around the range of a fixed-point number. */
export const fixedPointDomain = (bits: number): fc.Arbitrary<Interval> =>
  fc.constantFrom<Interval>(
    [-4 * 2 ** -bits, 4 * 2 ** -bits],
    [-2, 2],
    [-1.2 * 2 ** (31 - bits), 1.2 * 2 ** (31 - bits)],
  );

export const elementwiseSamplers: typeof plain & Pick<SamplerTable, "quantise" | "dequantise"> = {
  ...plain,
  quantise: {
    dtypes: ["f32"],
    compare: "bits",
    straightThrough: () => [1],
    plan: ({ dtype, ...sizes }) =>
      fractionBits.chain((bits) =>
        fc.tuple(shapes(sizes), fixedPointDomain(bits)).map(([shape, domain]) => ({
          attrs: { fractionBits: bits },
          operands: [{ shape, dtype, domain }],
        })),
      ),
  },
  dequantise: {
    dtypes: ["i32"],
    compare: "bits",
    straightThrough: () => [1],
    plan: ({ dtype, ...sizes }) =>
      fc.tuple(shapes(sizes), fractionBits).map(([shape, bits]) => ({
        attrs: { fractionBits: bits },
        operands: [{ shape, dtype }],
      })),
  },
};

/** The kinds of number an elementwise op's body sees. */
export const scalarTypesOf = (types: readonly DType[]): expr.ScalarType[] =>
  types.map((d) => (d === "bool" ? "bool" : d.startsWith("i") || d === "u8" ? "int" : "float"));
