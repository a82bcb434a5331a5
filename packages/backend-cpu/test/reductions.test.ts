import { Engine, type Tensor, tensor } from "@revnet-zero/tensor";
import { expectBitEqual, Random } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ReferenceBackend, tierNames } from "../src/index.ts";
import { backendOf } from "./tier.fixture.ts";

const reference = new Engine(new ReferenceBackend());

/** Values with many ties, both zeros, infinities and, in some samples, NaN. */
const value = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: -9, max: 9 }).map((n) => n / 4) },
  { weight: 2, arbitrary: fc.float({ noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(-0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY) },
);

/** [outer, size, inner] that cross vectors of 4, blocks of 16 and the number of matrices shared out whole. */
const sizes = fc.oneof(
  fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 1, max: 67 }), fc.constant(1)),
  fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 67 })),
  fc.tuple(fc.integer({ min: 15, max: 18 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 21 })),
);

const sample = sizes.chain(([outer, size, inner]) => {
  const count = outer * size * inner;
  return fc.record({
    shape: fc.constant([outer, size, inner]),
    values: fc.array(value, { minLength: count, maxLength: count }),
    nans: fc.array(fc.nat({ max: Math.max(0, count - 1) }), { maxLength: 3 }),
    isTransposed: fc.boolean(),
    isBroadcast: fc.boolean(),
  });
});

/** JavaScript does not say which NaN it stores. */
const oneNaN = (t: Tensor): Float32Array =>
  (t.dataSync() as Float32Array).map((v) => (Number.isNaN(v) ? Number.NaN : v));

/** Every reduction of a sample, as it lies, with its outer axes swapped or one of them broadcast. */
function reduced(engine: Engine, { shape, values, nans, isTransposed, isBroadcast }: Sample): Float32Array[] {
  const data = Float32Array.from(values);
  for (const i of nans) if (i < data.length) data[i] = Number.NaN;
  return engine.scope(() => {
    const dense = tensor(data, { engine }).reshape(shape);
    const lying = isTransposed && shape.every((s) => s > 0) ? dense.permute([1, 0, 2]) : dense;
    const x = isBroadcast ? lying.reshape([...lying.shape, 1]).expand([...lying.shape, 3]) : lying;
    const whole: readonly Tensor[] = [x.max([0, 1].slice(x.shape[0] === 0 ? 1 : 0)), x.min([1])];
    const along = [x.max([1]), x.argmax(1), x.argmin(1), x.cumsum(1)];
    return [...whole, ...along].map(oneNaN);
  });
}
type Sample = typeof sample extends fc.Arbitrary<infer S> ? S : never;

describe.each(tierNames)("tier %s", (tier) => {
  test.each([1, 2])("extrema, their places and running sums have the oracle's bits on %d threads", (threads) => {
    const backend = backendOf(tier, { threads });
    if (backend === undefined) return;
    const engine = new Engine(backend);
    fc.assert(
      fc.property(sample, (drawn) => {
        const wanted = reduced(reference, drawn);
        reduced(engine, drawn).forEach((found, i) => {
          expectBitEqual(found, wanted[i]!, `output ${i}`);
        });
      }),
    );
  });

  test("sums over the rows of many matrices have the bits of each matrix alone, whatever the threads", () => {
    const [backend, single] = [backendOf(tier, { threads: 2 }), backendOf(tier, { threads: 1 })];
    if (backend === undefined || single === undefined) return;
    const [matrices, rows, columns] = [600, 67, 37];
    const values = Float32Array.from({ length: matrices * rows * columns }, (_, i) => ((i * 7919) % 1013) / 9 - 50);
    const on = (b: typeof backend): Tensor =>
      tensor(values, { engine: new Engine(b) }).reshape([matrices, rows, columns]);
    const [all, alone] = [on(backend), on(single)];
    const found = all.sum(1).dataSync();
    for (const n of [0, 299, 599])
      expectBitEqual(
        found.slice(n * columns, (n + 1) * columns),
        alone.narrow(0, n, 1).clone().sum(1).dataSync(),
        `matrix ${n}`,
      );
  });

  test("sums of whole numbers have the oracle's bits, also where they wrap", () => {
    const backend = backendOf(tier, { threads: 2 });
    if (backend === undefined) return;
    const engine = new Engine(backend);
    const cases = fc.record({
      shape: sizes,
      dtype: fc.constantFrom("i32", "i16", "i8", "u8", "bool"),
      seed: fc.nat(),
      isTransposed: fc.boolean(),
    } as const);
    const sums = (
      on: Engine,
      { shape, dtype, seed, isTransposed }: typeof cases extends fc.Arbitrary<infer C> ? C : never,
    ) => {
      const random = new Random(seed);
      const words = Int32Array.from({ length: shape.reduce((n, s) => n * s) }, () =>
        random.integer(-(2 ** 31), 2 ** 31 - 1),
      );
      return on.scope(() => {
        const dense = tensor(words, { engine: on })
          .reshape(shape)
          .bitwiseAnd(dtype === "i32" ? -1 : 127)
          .cast(dtype);
        const x = isTransposed ? dense.permute([1, 0, 2]) : dense;
        return [x.sum(), x.sum([1, 2]), x.sum([1]), x.sum([0, 1]), x.sum([0, 2])].map((t) => t.dataSync());
      });
    };
    fc.assert(
      fc.property(cases, (drawn) => {
        expect(sums(engine, drawn)).toEqual(sums(reference, drawn));
      }),
      // As many rows as two threads share.
      { examples: [[{ shape: [9000, 5, 1], dtype: "i32", seed: 1, isTransposed: false }]] },
    );
  });

  test.each([
    [9000, 67, 1],
    [1, 67, 9000],
    [40, 67, 200],
  ])("on as many elements as two threads share, [%d, %d, %d]", (...shape) => {
    const backend = backendOf(tier, { threads: 2 });
    if (backend === undefined) return;
    const engine = new Engine(backend);
    const count = shape.reduce((n, s) => n * s);
    const values = Array.from({ length: count }, (_, i) => ((i * 2654435761) % 1009) / 8 - 60);
    const drawn = { shape, values, nans: [5000], isTransposed: false, isBroadcast: false };
    const wanted = reduced(reference, drawn);
    reduced(engine, drawn).forEach((found, i) => {
      expectBitEqual(found, wanted[i]!, `output ${i}`);
    });
  });
});
