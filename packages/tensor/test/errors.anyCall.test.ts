import { Random, runs, samplers } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AnyOp, allDTypes, dispatch, type Meta, type OpName, ops, RevNetError, tensor } from "../src/index.ts";
import { newEngine } from "./engine.fixture.ts";

interface Operand extends Meta {
  readonly values?: (random: Random, index: number) => number;
}

/** One thing wrong with the operands of a call, or by luck not wrong. */
type Mistake = (operands: readonly Operand[]) => Operand[];

const at = (operands: readonly Operand[], i: number, change: (x: Operand) => Operand): Operand[] =>
  operands.map((x, k) => (k === i % operands.length ? change(x) : x));

const mistakes: fc.Arbitrary<Mistake> = fc.oneof(
  fc.tuple(fc.nat(), fc.constantFrom(...allDTypes)).map<Mistake>(
    ([i, dtype]) =>
      (list) =>
        at(list, i, (x) => ({ ...x, dtype })),
  ),
  fc.tuple(fc.nat(), fc.nat(), fc.constantFrom(-1, 1, 3)).map<Mistake>(
    ([i, axis, change]) =>
      (list) =>
        at(list, i, (x) => ({
          ...x,
          shape: x.shape.map((s, d) => (d === axis % x.shape.length ? Math.max(0, s + change) : s)),
        })),
  ),
  fc.tuple(fc.nat(), fc.boolean()).map<Mistake>(
    ([i, front]) =>
      (list) =>
        at(list, i, (x) => ({ ...x, shape: front ? [2, ...x.shape] : x.shape.slice(1) })),
  ),
  fc.nat().map<Mistake>((i) => (list) => list.filter((_, k) => k !== i % list.length)),
  fc.nat().map<Mistake>((i) => (list) => [...list, ...list.slice(i % list.length, (i % list.length) + 1)]),
  fc
    .shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7])
    .map<Mistake>((order) => (list) => order.flatMap((k) => (list[k] === undefined ? [] : [list[k]]))),
);

describe("a call with wrong operands gives a result of the promised shape, or an error that names the op", () => {
  test.each(Object.keys(ops) as OpName[])("%s", (name) => {
    const op: AnyOp = ops[name];
    const sampler = samplers[name];
    const engine = newEngine();
    fc.assert(
      fc.property(
        fc
          .constantFrom(...sampler.dtypes)
          .chain((dtype) => sampler.plan({ dtype }) as fc.Arbitrary<{ operands: Operand[]; attrs: unknown }>),
        fc.array(mistakes, { minLength: 1, maxLength: 2 }),
        fc.nat(),
        ({ operands, attrs }, wrong, seed) => {
          const random = new Random(seed);
          engine.scope(() => {
            const given = wrong
              .reduce<Operand[]>((list, f) => (list.length === 0 ? list : f(list)), operands)
              .map(({ shape, dtype, values }) => {
                const size = shape.reduce((a, b) => a * b, 1);
                const words = Float64Array.from(
                  { length: size },
                  (_, i) => values?.(random, i) ?? random.integer(0, 1),
                );
                return tensor(words, { shape, dtype, engine });
              });
            const before = engine.liveTensors;
            try {
              const got = dispatch(engine, op, given, attrs);
              const promised = op.meta(given, attrs).map(({ shape, dtype }) => ({ shape, dtype }));
              expect(got.map(({ shape, dtype }) => ({ shape: [...shape], dtype }))).toEqual(promised);
              for (const t of got) t.dispose();
            } catch (error) {
              if (!(error instanceof RevNetError)) throw error;
              expect(error.op).toBe(name);
              expect(error.message).toMatch(/^(\w+): [^\n]+\n {2}hint: [^\n]+$/);
            }
            expect(engine.liveTensors).toBe(before);
          });
        },
      ),
      runs(60),
    );
    expect(engine.liveTensors).toBe(0);
  });
});
