import { Random, runs, samplers } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type AnyOp,
  dispatch,
  dtypes,
  type Meta,
  numel,
  type OpName,
  ops,
  RevNetError,
  type Tensor,
  tensor,
} from "../src/index.ts";
import { newEngine } from "./engine.fixture.ts";

interface Operand extends Meta {
  readonly values?: (random: Random, index: number) => number;
}
interface Plan {
  readonly operands: readonly Operand[];
  readonly attrs: unknown;
}

/** Where the numbers and the lists are in a call's attributes. */
function places(attrs: unknown, path: readonly string[] = []): string[][] {
  if (typeof attrs === "number") return [[...path]];
  if (typeof attrs !== "object" || attrs === null) return [];
  const inside = Object.entries(attrs).flatMap(([name, v]) => places(v, [...path, name]));
  return Array.isArray(attrs) ? [[...path], ...inside] : inside;
}

/** Attributes that are places or counts: a fraction in one of them has no meaning. */
const counts = [
  ...["axis", "axes", "starts", "sizes", "size", "shape", "pads", "k"],
  ...["stride", "padding", "dilation", "groups", "window", "fractionBits"],
];

const breaksCount = (path: readonly string[], attrs: unknown): boolean => {
  const value: unknown = path.reduce((v, name) => (v as Record<string, unknown>)[name], attrs);
  return counts.includes(path[0] ?? "") && [value].flat(9).some((v) => !Number.isInteger(v));
};

type Change = (v: unknown) => unknown;

function changed(attrs: unknown, [name, ...rest]: readonly string[], change: Change): unknown {
  if (name === undefined) return change(attrs);
  const inner = changed((attrs as Record<string, unknown>)[name], rest, change);
  return Array.isArray(attrs)
    ? attrs.map((v, i) => (String(i) === name ? inner : v))
    : { ...(attrs as object), [name]: inner };
}

const changes: fc.Arbitrary<Change> = fc.oneof(
  fc.constantFrom(-1, 0, 0.5, 1.5, 7, 2 ** 31, Number.NaN, Number.POSITIVE_INFINITY).map(
    (to): Change =>
      (v) =>
        Array.isArray(v) ? v.slice(1) : to,
  ),
  fc.constantFrom(-1, 1, -3, 0.5).map(
    (by): Change =>
      (v) =>
        Array.isArray(v) ? [...v, by] : (v as number) + by,
  ),
);

/** Every element of the tensor lies in its buffer. */
function isInside({ layout, storage, dtype }: Tensor): boolean {
  const held = storage.bytes / dtypes[dtype].bytes;
  const { shape, strides, offset } = layout;
  if (numel(shape) === 0) return true;
  const reach = (sign: number): number =>
    shape.reduce((at, size, d) => at + (sign * strides[d]! > 0 ? (size - 1) * strides[d]! : 0), offset);
  return [reach(1), reach(-1)].every((at) => Number.isInteger(at) && at >= 0 && at < held);
}

describe("a call with a wrong attribute gives a result of the promised shape, or an error that names the op", () => {
  const withAttributes = (Object.keys(ops) as OpName[]).filter((name) => {
    const [plan] = fc.sample(samplers[name].plan({ dtype: samplers[name].dtypes[0]! }) as fc.Arbitrary<Plan>, 1);
    return places(plan!.attrs).length > 0;
  });

  test.each(withAttributes)("%s", (name) => {
    const op: AnyOp = ops[name];
    const sampler = samplers[name];
    const engine = newEngine({ memoryLimitBytes: 1e6 });
    fc.assert(
      fc.property(
        fc.constantFrom(...sampler.dtypes).chain((dtype) => sampler.plan({ dtype }) as fc.Arbitrary<Plan>),
        fc.nat(),
        changes,
        fc.nat(),
        ({ operands, attrs }, which, change, seed) => {
          const list = places(attrs);
          const wrong = changed(attrs, list[which % list.length]!, change);
          const random = new Random(seed);
          engine.scope(() => {
            const given = operands.map(({ shape, dtype, values }) => {
              const words = Float64Array.from(
                { length: numel(shape) },
                (_, i) => values?.(random, i) ?? random.integer(0, 1),
              );
              return tensor(words, { shape, dtype, engine });
            });
            const before = engine.liveTensors;
            try {
              const got = dispatch(engine, op, given, wrong);
              expect(breaksCount(list[which % list.length]!, wrong), JSON.stringify(wrong)).toBe(false);
              const promised = op.meta(given, wrong).map(({ shape, dtype }) => ({ shape, dtype }));
              expect(got.map(({ shape, dtype }) => ({ shape: [...shape], dtype }))).toEqual(promised);
              for (const t of got) {
                expect(isInside(t), `${t.shape} at ${t.layout.offset} by ${t.layout.strides}`).toBe(true);
                expect(t.shape.every((s) => Number.isInteger(s) && s >= 0)).toBe(true);
                t.dispose();
              }
            } catch (error) {
              if (!(error instanceof RevNetError)) throw error;
              expect([name, "allocate"]).toContain(error.op);
              expect(error.message).toMatch(/\n {2}hint: [^\n]+$/);
            }
            expect(engine.liveTensors).toBe(before);
          });
        },
      ),
      runs(100),
    );
    expect(engine.liveTensors).toBe(0);
  });
});
