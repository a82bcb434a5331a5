import { errorText, expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type DType,
  expectNoLeak,
  foldKey,
  fromBf16,
  fromF16,
  type HostData,
  type Key,
  numel,
  randomKey,
  randomNormal,
  randomUniform,
  randomWord,
  randomWords,
  type Shape,
  type Tensor,
  toBf16,
  toF16,
} from "../src/index.ts";
import { greatestBelow, leastFrom } from "../src/neighbours.ts";
import { newEngine } from "./engine.fixture.ts";

const engine = newEngine();
const floats: readonly DType[] = ["f32", "f64", "bf16", "f16"];
const word = fc.nat({ max: 0xffffffff });
const key: fc.Arbitrary<Key> = fc.tuple(word, word);
const shape = fc.array(fc.nat({ max: 5 }), { maxLength: 4 });

/** The values of a tensor that dies here. */
function read(t: Tensor): HostData {
  const values = t.dataSync();
  t.dispose();
  return values;
}

const makers: readonly [string, (shape: Shape, key: Key, dtype?: DType) => Tensor][] = [
  ["randomUniform", (shape, key, dtype = "f32") => randomUniform(shape, { key, dtype, engine })],
  ["randomUniform of a range", (shape, key) => randomUniform(shape, { key, low: -3, high: 0.1, engine })],
  ["randomNormal", (shape, key, dtype = "f32") => randomNormal(shape, { key, dtype, engine })],
  ["randomNormal of a mean", (shape, key) => randomNormal(shape, { key, mean: 4, std: 0.02, engine })],
  ["randomWords", (shape, key) => randomWords(shape, { key, engine })],
];

describe.each(makers)("%s", (name, make) => {
  test("gives the same bits for the same key, whatever was drawn before and on whichever engine", () => {
    fc.assert(
      fc.property(shape, key, (sizes, k) => {
        const first = read(make(sizes, k));
        read(make([7], foldKey(k, 1)));
        expectBitEqual(read(make(sizes, k)), first);
        // The shape only cuts the stream: fewer numbers are the first of more.
        expectBitEqual(read(make([numel(sizes) + 3], k)).slice(0, numel(sizes)), first);
      }),
      runs(50),
    );
  });

  test("gives other numbers for another key", () => {
    const seen = new Set(Array.from({ length: 200 }, (_, i) => read(make([4], foldKey(randomKey(1), i))).join()));
    expect(seen.size).toBe(200);
  });

  test("has the shape and the dtype asked for, and leaves one tensor", () => {
    const types = name.includes(" ") ? (["f32"] as const) : name === "randomWords" ? (["i32"] as const) : floats;
    for (const dtype of types) {
      expectNoLeak(engine, () => {
        const t = make([2, 3], [1, 2], dtype);
        expect([t.shape, t.dtype, engine.liveTensors, engine.memory().liveBytes]).toEqual([[2, 3], dtype, 1, t.bytes]);
        t.dispose();
      });
    }
  });
});

test("randomWords is the stream of the key, word by word", () => {
  fc.assert(
    fc.property(shape, key, (sizes, k) => {
      const expected = Int32Array.from({ length: numel(sizes) }, (_, i) => randomWord(k, i));
      expectBitEqual(read(randomWords(sizes, { key: k, engine })), expected);
    }),
    runs(50),
  );
});

test("randomUniform is the top 24 bits of every word times 2^-24, in f64 as in f32", () => {
  fc.assert(
    fc.property(key, (k) => {
      const expected = Float64Array.from({ length: 20 }, (_, i) => (randomWord(k, i) >>> 8) * 2 ** -24);
      expectBitEqual(read(randomUniform([20], { key: k, dtype: "f64", engine })), expected);
      expectBitEqual(read(randomUniform([20], { key: k, engine })), Float32Array.from(expected));
    }),
    runs(50),
  );
});

describe("the bounds of randomUniform", () => {
  const inside = (values: HostData, low: number, high: number): boolean => values.every((v) => v >= low && v < high);

  test("low can be drawn, high cannot, in any float type", () => {
    // Once, one bf16 of [0, 1) in 512 was 1.
    const bound = fc.oneof(fc.integer({ min: -300, max: 300 }), fc.double({ min: -1000, max: 1000, noNaN: true }));
    const range = fc.tuple(bound, fc.oneof(bound, fc.constantFrom(1, 1e-3))).map(([a, b]): [number, number] => {
      return a < b ? [a, b] : [b, a];
    });
    fc.assert(
      fc.property(range, fc.constantFrom(...floats), key, ([low, high], dtype, k) => {
        fc.pre(leastFrom(low, dtype) <= greatestBelow(high, dtype));
        expect(inside(read(randomUniform([500], { key: k, dtype, low, high, engine })), low, high)).toBe(true);
      }),
      runs(200),
    );
  });

  test("hold where the range is as narrow as the numbers lie apart", () => {
    for (const [dtype, low, high] of [
      ["f32", 2 ** 23, 2 ** 23 + 1],
      ["f64", 2 ** 23, 2 ** 23 + 1],
      ["bf16", 1, 1 + 2 ** -7],
      ["f16", -1, -1 + 2 ** -11],
    ] as const) {
      const values = read(randomUniform([100], { key: [1, 2], dtype, low, high, engine }));
      expect([...values], dtype).toEqual(new Array(100).fill(low));
    }
  });

  test("are refused where nothing lies between them, or the type does not hold them", () => {
    const before = engine.liveTensors;
    const mistakes = [
      () => randomUniform([1], { key: [1, 2], low: 1, high: 1, engine }),
      () => randomUniform([1], { key: [1, 2], low: 1, high: 0, engine }),
      () => randomUniform([1], { key: [1, 2], low: 0, high: Number.NaN, engine }),
      () => randomUniform([1], { key: [1, 2], low: Number.NEGATIVE_INFINITY, engine }),
      () => randomUniform([1], { key: [1, 2], low: -3e38, high: 3e38, engine }),
      () => randomUniform([1], { key: [1, 2], high: 1e5, dtype: "f16", engine }),
      () => randomUniform([1], { key: [1, 2], low: 1.001, high: 1.002, dtype: "bf16", engine }),
      () => randomUniform([1], { key: [1, 2], dtype: "i32", engine }),
      () => randomUniform([1], { key: [1, 2], dtype: "float32" as DType, engine }),
      () => randomNormal([1], { key: [1, 2], dtype: "bool", engine }),
      () => randomNormal([1], { key: [1, 2], std: -1, engine }),
      () => randomNormal([1], { key: [1, 2], std: Number.POSITIVE_INFINITY, engine }),
      () => randomNormal([1], { key: [1, 2], mean: Number.NaN, engine }),
      () => randomWords([-1], { key: [1, 2], engine }),
    ];
    expect(`\n${mistakes.map(errorText).join("\n")}\n`).toMatchInlineSnapshot(`
      "
      ValueError: random: cannot draw f32 from [1, 1)
        hint: use low < high, both in the dtype's range, with a number of the dtype between them
      ValueError: random: cannot draw f32 from [1, 0)
        hint: use low < high, both in the dtype's range, with a number of the dtype between them
      ValueError: random: cannot draw f32 from [0, NaN)
        hint: use low < high, both in the dtype's range, with a number of the dtype between them
      ValueError: random: cannot draw f32 from [-Infinity, 1)
        hint: use low < high, both in the dtype's range, with a number of the dtype between them
      ValueError: random: cannot draw f32 from [-3e+38, 3e+38)
        hint: use low < high, both in the dtype's range, with a number of the dtype between them
      ValueError: random: cannot draw f16 from [0, 100000)
        hint: use low < high, both in the dtype's range, with a number of the dtype between them
      ValueError: random: cannot draw bf16 from [1.001, 1.002)
        hint: use low < high, both in the dtype's range, with a number of the dtype between them
      ValueError: random: dtype is i32
        hint: random numbers are floats; use randomWords for integers
      DTypeError: random: unknown dtype "float32"
        hint: use one of f64, f32, bf16, f16, i32, i16, i8, u8, bool
      ValueError: random: dtype is bool
        hint: random numbers are floats; use randomWords for integers
      ValueError: random: mean is 0, std is -1
        hint: use a finite mean and a finite std of at least 0
      ValueError: random: mean is 0, std is Infinity
        hint: use a finite mean and a finite std of at least 0
      ValueError: random: mean is NaN, std is 1
        hint: use a finite mean and a finite std of at least 0
      ValueError: randomBits: [-1] is no shape: -1 is not a non-negative integer
        hint: sizes are 0, 1, 2, …
      "
    `);
    expect(engine.liveTensors).toBe(before);
  });
});

describe("neighbours in a float type", () => {
  const rounded = {
    f32: Math.fround,
    bf16: (v: number): number => fromBf16(toBf16(v)),
    f16: (v: number): number => fromF16(toF16(v)),
  };

  test("the greatest below and the least from have the number between them, and no other float", () => {
    const number = fc.oneof(
      fc.double({ min: -60000, max: 60000, noNaN: true }),
      fc.constantFrom(0, -0, 1, -1, 1e-50, -1e-50, 2 ** -24, -(2 ** -149)),
    );
    fc.assert(
      fc.property(number, fc.constantFrom("f32", "bf16", "f16"), (v, dtype) => {
        const [below, from] = [greatestBelow(v, dtype), leastFrom(v, dtype)];
        expect(below).toBeLessThan(v);
        expect(from).toBeGreaterThanOrEqual(v);
        for (const x of [below, from]) expect(rounded[dtype](x) === x).toBe(true);
        // Whatever lies between two neighbours rounds to one of them.
        for (const part of [0.25, 0.5, 0.75])
          expect([below, from]).toContain(rounded[dtype](below + part * (from - below)) + 0);
      }),
      runs(500),
    );
  });
});

describe("moments are within five standard errors of the distribution's", () => {
  const n = 40_000;
  const mean = (values: ArrayLike<number>, f: (v: number) => number): number => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += f(values[i]!);
    return sum / values.length;
  };
  /** The mean of f over the values, in standard errors from what it should be. */
  const deviation = (values: HostData, f: (v: number) => number, expected: number, variance: number): number =>
    Math.abs(mean(values, f) - expected) / Math.sqrt(variance / values.length);
  const below = (t: number) => (v: number) => (v < t ? 1 : 0);
  const share = (values: HostData, t: number, p: number): number => deviation(values, below(t), p, p * (1 - p));

  test.each(floats.flatMap((dtype) => [1, 2, 3].map((seed) => [dtype, seed] as const)))(
    "uniform %s, seed %i",
    (dtype, seed) => {
      const values = read(randomUniform([n], { key: randomKey(seed), dtype, low: -2, high: 6, engine }));
      const unit = (v: number): number => (v + 2) / 8;
      for (const power of [1, 2, 3, 4]) {
        const variance = 1 / (2 * power + 1) - 1 / (power + 1) ** 2;
        expect(deviation(values, (v) => unit(v) ** power, 1 / (power + 1), variance)).toBeLessThan(5);
      }
      for (let i = 1; i < 8; i++) expect(share(values, -2 + i, i / 8)).toBeLessThan(5);
    },
  );

  test.each(floats.flatMap((dtype) => [1, 2, 3].map((seed) => [dtype, seed] as const)))(
    "normal %s, seed %i",
    (dtype, seed) => {
      const values = read(randomNormal([n], { key: randomKey(seed), dtype, mean: 0.5, std: 2, engine }));
      const z = (v: number): number => (v - 0.5) / 2;
      // E z^k and the variances of z^k: 1, 2, 15, 96.
      for (const [power, expected, variance] of [
        [1, 0, 1],
        [2, 1, 2],
        [3, 0, 15],
        [4, 3, 96],
      ] as const)
        expect(deviation(values, (v) => z(v) ** power, expected, variance)).toBeLessThan(5);
      for (const [at, p] of [
        [-2, 0.0227501319],
        [-1, 0.1586552539],
        [1, 0.8413447461],
        [2, 0.9772498681],
      ] as const)
        expect(Math.abs(mean(values, below(0.5 + 2 * at)) - p) / Math.sqrt((p * (1 - p)) / n)).toBeLessThan(5);
    },
  );

  test("neighbours in a stream, and the streams of two folded keys, are uncorrelated", () => {
    const draw = (k: Key): HostData => read(randomNormal([n], { key: k, engine }));
    const root = randomKey(4);
    const [a, b] = [draw(foldKey(root, 0)), draw(foldKey(root, 1))];
    const products = (x: HostData, y: HostData, lag: number): Float64Array =>
      Float64Array.from({ length: n - lag }, (_, i) => x[i]! * y[i + lag]!);
    for (const [x, y, lag] of [
      [a, a, 1],
      [a, a, 2],
      [a, a, 4],
      [a, b, 0],
      [a, b, 1],
    ] as const)
      expect(deviation(products(x, y, lag), (v) => v, 0, 1)).toBeLessThan(5);
  });

  test("a standard deviation of 0 is the mean", () => {
    expect([...read(randomNormal([3], { key: [1, 2], mean: 0.25, std: 0, engine }))]).toEqual([0.25, 0.25, 0.25]);
  });
});
