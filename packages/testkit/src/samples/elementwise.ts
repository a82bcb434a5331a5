import {
  allDTypes,
  type DType,
  type ElementwiseOp,
  type expr,
  type Meta,
  type NarrowDType,
  type OpName,
  ops,
} from "@revnet-zero/tensor";
import fc from "fast-check";
import type { OperandPlan, Plan, PlanOptions, Sampler, SamplerTable } from "../sample.ts";
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
  floorDivide: [
    [-(2 ** 31), 2 ** 31 - 1],
    [1, 1000],
  ],
  floorMod: [
    [-(2 ** 31), 2 ** 31 - 1],
    [1, 1000],
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

/** Those with attributes, or whose operands differ in type: their samplers are written out below. */
type WrittenName =
  | "quantise"
  | "dequantise"
  | "quantiseChannels"
  | "dequantiseChannels"
  | "snapToGrid"
  | "toOrdered"
  | "fromOrdered";

const fractionBits = fc.oneof(fc.constant(20), fc.integer({ min: 0, max: 30 }));

/** Increments around the resolution and around the range of a fixed-point number. */
export const fixedPointDomain = (bits: number): fc.Arbitrary<Interval> =>
  fc.constantFrom<Interval>(
    [-4 * 2 ** -bits, 4 * 2 ** -bits],
    [-2, 2],
    [-1.2 * 2 ** (31 - bits), 1.2 * 2 ** (31 - bits)],
  );

/** The same for float32 numbers on a grid, whose range is 2^(24-s). */
export const gridDomain = (bits: number): fc.Arbitrary<Interval> =>
  fc.constantFrom<Interval>(
    [-4 * 2 ** -bits, 4 * 2 ** -bits],
    [-2, 2],
    [-1.2 * 2 ** (24 - bits), 1.2 * 2 ** (24 - bits)],
  );

/** A stream or an increment with its scale, a power of two: one, or one a channel. */
export const channelPlan = ({ dtype, ...sizes }: PlanOptions): fc.Arbitrary<[OperandPlan, OperandPlan]> =>
  fc.tuple(shapes(sizes), fc.boolean(), fc.integer({ min: -2, max: 14 })).map(([shape, hasChannels, most]) => [
    { shape, dtype, ...(dtype === "f32" ? { domain: [-40000 * 2 ** -most, 40000 * 2 ** -most] as const } : {}) },
    {
      shape: hasChannels ? shape.slice(-1) : [],
      dtype: "f32",
      values: (random) => 2 ** (most - random.integer(0, 3)),
    },
  ]);

const alone = ({ dtype, ...sizes }: PlanOptions): fc.Arbitrary<Plan<undefined>> =>
  shapes(sizes).map((shape) => ({ attrs: undefined, operands: [{ shape, dtype }] }));

const written: Pick<SamplerTable, WrittenName> = {
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
  quantiseChannels: {
    dtypes: ["f32"],
    needs: ["i16", "i8"],
    compare: "bits",
    straightThrough: () => [1],
    plan: (options) =>
      fc.tuple(channelPlan(options), fc.constantFrom<NarrowDType>("i16", "i8")).map(([[x, scale], dtype]) => ({
        attrs: { dtype },
        operands: [x, scale],
      })),
  },
  dequantiseChannels: {
    dtypes: ["i16", "i8"],
    compare: "bits",
    straightThrough: () => [1],
    plan: (options) => channelPlan(options).map((operands) => ({ attrs: undefined, operands })),
  },
  snapToGrid: {
    dtypes: ["f32"],
    compare: "bits",
    straightThrough: () => [1],
    plan: ({ dtype, ...sizes }) =>
      fc.integer({ min: 0, max: 24 }).chain((bits) =>
        fc.tuple(shapes(sizes), gridDomain(bits)).map(([shape, domain]) => ({
          attrs: { fractionBits: bits },
          operands: [{ shape, dtype, domain }],
        })),
      ),
  },
  toOrdered: { dtypes: ["f32"], compare: "bits", plan: alone },
  fromOrdered: { dtypes: ["i32"], compare: "bits", plan: alone },
};

const isPlain = (name: OpName): name is PlainName => ops[name].kind === "elementwise" && !Object.hasOwn(written, name);

const plain = Object.fromEntries(
  (Object.keys(ops) as OpName[]).filter(isPlain).map((name) => [name, plainSampler(name)]),
) as unknown as Pick<SamplerTable, PlainName>;

export const elementwiseSamplers: Pick<SamplerTable, PlainName | WrittenName> = { ...plain, ...written };

/** The kinds of number an elementwise op's body sees. */
export const scalarTypesOf = (types: readonly DType[]): expr.ScalarType[] =>
  types.map((d) => (d === "bool" ? "bool" : d.startsWith("i") || d === "u8" ? "int" : "float"));
