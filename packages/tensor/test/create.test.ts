import { errorText, expectBitEqual, expectBitEqualTensors, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  allDTypes,
  arange,
  type DType,
  defaultEngine,
  dtypes,
  expectNoLeak,
  fromWords,
  full,
  hasDefaultEngine,
  isFloat,
  type Nested,
  numel,
  ones,
  setDefaultEngine,
  type Tensor,
  type TypedArray,
  tensor,
  toWords,
  zeros,
} from "../src/index.ts";
import { newEngine, valuesOf } from "./engine.fixture.ts";

const engine = newEngine();
const texts = (...mistakes: (() => unknown)[]): string => `\n${mistakes.map(errorText).join("\n")}\n`;

const shape = fc.array(fc.nat({ max: 4 }), { maxLength: 4 });
const dtype = fc.constantFrom(...allDTypes);
/** Numbers of every kind: whole, fractional, beyond the types' ranges, zeros of both signs, NaN and infinities. */
const number = fc.oneof(
  fc.integer({ min: -400, max: 400 }),
  fc.double(),
  fc.constantFrom(0, -0, 2.5, -1.5, 65504, 65520, 3e9, -3e9, 1e39, Number.NaN),
);

/** `flat` as nested arrays of the given sizes. */
function nest(flat: readonly number[], [size, ...inner]: readonly number[]): Nested {
  if (size === undefined) return flat[0]!;
  const step = numel(inner);
  return Array.from({ length: size }, (_, i) => nest(flat.slice(i * step, (i + 1) * step), inner));
}

/** The words of a tensor as the backend keeps them. */
const wordsOf = (t: Tensor): TypedArray => engine.backend.readSync!(t.storage.data, t.dtype, t.size);

describe("tensor", () => {
  test("takes the shape of the nesting and its values in row-major order", () => {
    // An axis of size 0 hides the sizes of those inside it.
    const shown = shape.map((sizes) => (sizes.includes(0) ? sizes.slice(0, sizes.indexOf(0) + 1) : sizes));
    fc.assert(
      fc.property(shown, (sizes) => {
        engine.scope(() => {
          const flat = Array.from({ length: numel(sizes) }, (_, i) => i);
          const t = tensor(nest(flat, sizes), { engine });
          expect(t.shape).toEqual(sizes);
          expect(t.dtype).toBe("f32");
          expect(valuesOf(t)).toEqual(flat);
        });
      }),
      runs(100),
    );
    expect(engine.liveTensors).toBe(0);
  });

  test("gives the same for nested values and for flat ones with a shape, in every dtype", async () => {
    const example = fc
      .tuple(shape, dtype)
      .chain(([sizes, type]) => fc.tuple(fc.constant(sizes), fc.constant(type), arrayOf(numel(sizes))));
    await fc.assert(
      fc.asyncProperty(example, async ([sizes, type, values]) => {
        const flat = tensor(values, { shape: sizes, dtype: type, engine });
        const again = tensor(nest(values, sizes), { shape: sizes, dtype: type, engine });
        await expectBitEqualTensors(again, flat);
        expectBitEqual(wordsOf(flat), toWords(values, type));
        for (const t of [flat, again]) t.dispose();
      }),
      runs(100),
    );
    expect(engine.liveTensors).toBe(0);
  });

  test.each<[TypedArray, DType]>([
    [Float32Array.of(0.1, -0, Number.NaN), "f32"],
    [Float64Array.of(0.1, 1e300), "f64"],
    [Int32Array.of(-2147483648, 2147483647), "i32"],
    [Int16Array.of(-32768, 32767), "i16"],
    [Int8Array.of(-128, 127), "i8"],
    [Uint8Array.of(0, 255), "u8"],
  ])("keeps the type and the bits of %o", (values, expected) => {
    engine.scope(() => {
      const t = tensor(values, { engine });
      expect([t.dtype, t.shape]).toEqual([expected, [values.length]]);
      expectBitEqual(t.dataSync(), values);
    });
  });

  test("makes truth values bool, numbers f32, and either what is asked for", () => {
    engine.scope(() => {
      expect(tensor(true, { engine }).dtype).toBe("bool");
      expect(tensor([[true], [false]], { engine }).dtype).toBe("bool");
      expect(valuesOf(tensor([[true], [false]], { engine }))).toEqual([1, 0]);
      expect(tensor(3, { engine })).toMatchObject({ dtype: "f32", shape: [], size: 1 });
      expect(tensor([], { engine })).toMatchObject({ dtype: "f32", shape: [0], size: 0 });
      expect(valuesOf(tensor([true, false], { dtype: "f64", engine }))).toEqual([1, 0]);
      expect(valuesOf(tensor([2, 0, -1], { dtype: "bool", engine }))).toEqual([1, 0, 1]);
    });
  });

  test("copies: what is written to the array later does not reach the tensor, nor the reverse", () => {
    const values = Float32Array.of(1, 2);
    const t = tensor(values, { engine });
    values[0] = 9;
    expect(valuesOf(t)).toEqual([1, 2]);
    t.dataSync()[1] = 9;
    expect(valuesOf(t)).toEqual([1, 2]);
    t.dispose();
  });
});

const arrayOf = (length: number): fc.Arbitrary<number[]> => fc.array(number, { minLength: length, maxLength: length });

describe("full", () => {
  test("has the words that the same value has coming from the host, in every dtype", () => {
    // Once, NaN as a truth value was true from the host and false from `full` and `cast`.
    fc.assert(
      fc.property(shape, dtype, number, (sizes, type, value) => {
        engine.scope(() => {
          const t = full(sizes, value, { dtype: type, engine });
          expect([t.shape, t.dtype]).toEqual([sizes, type]);
          expectBitEqual(wordsOf(t), toWords(new Array<number>(numel(sizes)).fill(value), type));
        });
      }),
      runs(300),
    );
  });

  test("NaN cast to a truth value is true, as x ≠ 0 is", () => {
    engine.scope(() => {
      const x = tensor([Number.NaN, 0, -0, 2], { engine });
      expect(valuesOf(x.cast("bool"))).toEqual([1, 0, 0, 1]);
      expect(valuesOf(x.notEqual(0))).toEqual([1, 0, 0, 1]);
      expect(valuesOf(x.cast("f64").cast("bool"))).toEqual([1, 0, 0, 1]);
    });
  });

  test("zeros and ones are full of 0 and 1, f32 unless asked otherwise", async () => {
    for (const [made, value] of [
      [zeros, 0],
      [ones, 1],
    ] as const) {
      expect(made([], { engine })).toMatchObject({ dtype: "f32", shape: [] });
      for (const type of allDTypes)
        await expectBitEqualTensors(
          made([2, 3], { dtype: type, engine }),
          full([2, 3], value, { dtype: type, engine }),
        );
    }
  });
});

describe("arange", () => {
  test("is start + i · step, every number computed for itself", () => {
    const bound = fc.double({ min: -1e6, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(fc.nat({ max: 50 }), bound, bound, dtype, (n, start, step, type) => {
        engine.scope(() => {
          const t = arange(n, { start, step, dtype: type, engine });
          expect([t.shape, t.dtype]).toEqual([[n], type]);
          expectBitEqual(
            wordsOf(t),
            toWords(
              Array.from({ length: n }, (_, i) => start + i * step),
              type,
            ),
          );
        });
      }),
      runs(100),
    );
  });

  test("counts 0, 1, 2, … in i32, and in the tensor's own type where it is asked of a tensor", () => {
    engine.scope(() => {
      const t = arange(4, { engine });
      expect([t.dtype, valuesOf(t)]).toEqual(["i32", [0, 1, 2, 3]]);
      for (const type of allDTypes)
        expect(zeros([1], { dtype: type, engine }).rangeOf(2).dtype).toBe(isFloat(type) ? type : "i32");
    });
  });
});

describe("fromWords", () => {
  test("gives back every word as it was, NaN's payload included", () => {
    const example = dtype.chain((type) => fc.tuple(fc.constant(type), fc.uint8Array({ maxLength: 48 })));
    fc.assert(
      fc.property(example, ([type, bytes]) => {
        const size = dtypes[type].bytes;
        const words = new dtypes[type].array(Math.floor(bytes.length / size));
        new Uint8Array(words.buffer).set(bytes.subarray(0, words.byteLength));
        engine.scope(() => {
          const t = fromWords(words, [1, words.length], type, engine);
          expect([t.shape, t.dtype]).toEqual([[1, words.length], type]);
          expectBitEqual(wordsOf(t), words);
          expectBitEqual(t.wordsSync(), words);
        });
      }),
      runs(100),
    );
  });

  test("is what words() is the inverse of, for views too", async () => {
    const t = fromWords(Uint16Array.of(0x3f80, 0x7fa1, 0xff81, 0x8000, 0x7f80, 1), [2, 3], "bf16", engine);
    const turned = t.transpose();
    const words = await turned.words();
    expect(words).toEqual(Uint16Array.of(0x3f80, 0x8000, 0x7fa1, 0x7f80, 0xff81, 1));
    expect(turned.narrow(0, 1, 2).wordsSync()).toEqual(words.slice(2));
    t.dispose();
  });

  test("refuses words that do not fill the shape, or that are another type's", () => {
    // Once, too few words left the rest of the tensor as the memory was.
    const before = engine.memory().liveBytes;
    expect(
      texts(
        () => fromWords(new Float32Array(2), [4], "f32", engine),
        () => fromWords(new Float32Array(6), [4], "f32", engine),
        () => fromWords(new Float32Array(2), [2], "bf16", engine),
        () => fromWords(new Uint8Array(2), [-2, -1], "bool", engine),
      ),
    ).toMatchInlineSnapshot(`
      "
      ShapeError: fromWords: 2 words do not fill [4]
        hint: give 4 words, or another shape
      ShapeError: fromWords: 6 words do not fill [4]
        hint: give 4 words, or another shape
      DTypeError: fromWords: words of bf16 lie in Uint16Array, got Float32Array
        hint: toWords(values, dtype) converts numbers
      ValueError: fromWords: [-2, -1] is no shape: -2 is not a non-negative integer
        hint: sizes are 0, 1, 2, …
      "
    `);
    expect(engine.memory().liveBytes).toBe(before);
  });
});

test("a dtype that does not exist is refused by all of them, with the list of those that do", () => {
  const wrong = { dtype: "float32" as DType, engine };
  expect(
    texts(
      () => tensor([1], wrong),
      () => full([1], 1, wrong),
      () => arange(1, wrong),
      () => fromWords(new Float32Array(1), [1], wrong.dtype, engine),
      () => zeros([1], { engine }).cast(wrong.dtype),
    ),
  ).toMatchInlineSnapshot(`
    "
    DTypeError: tensor: unknown dtype "float32"
      hint: use one of f64, f32, bf16, f16, i32, i16, i8, u8, bool
    DTypeError: fill: unknown dtype "float32"
      hint: use one of f64, f32, bf16, f16, i32, i16, i8, u8, bool
    DTypeError: arange: unknown dtype "float32"
      hint: use one of f64, f32, bf16, f16, i32, i16, i8, u8, bool
    DTypeError: fromWords: unknown dtype "float32"
      hint: use one of f64, f32, bf16, f16, i32, i16, i8, u8, bool
    DTypeError: cast: unknown dtype "float32"
      hint: use one of f64, f32, bf16, f16, i32, i16, i8, u8, bool
    "
  `);
});

test("each makes one tensor of its bytes and nothing else, outside of any scope", () => {
  const own = newEngine();
  const makers: (() => Tensor)[] = [
    () => tensor([[1, 2]], { dtype: "f16", engine: own }),
    () => full([3], 2, { dtype: "f64", engine: own }),
    () => arange(5, { engine: own }),
    () => fromWords(new Uint8Array(3), [3], "u8", own),
  ];
  for (const make of makers) {
    expectNoLeak(own, () => {
      const t = make();
      expect([own.liveTensors, own.memory().liveBytes]).toEqual([1, t.bytes]);
      t.dispose();
    });
  }
});

test("without an engine named, the default engine is the one", () => {
  const before = hasDefaultEngine() ? defaultEngine() : undefined;
  setDefaultEngine(engine);
  engine.scope(() => {
    for (const t of [tensor(1), zeros([1]), ones([1]), full([1], 2), arange(1), fromWords(new Int8Array(1), [1], "i8")])
      expect(t.engine).toBe(engine);
  });
  setDefaultEngine(before);
});

test("a view without elements is read as nothing, wherever it points", async () => {
  const empty = engine.scope(() => tensor([1, 2, 3], { engine }).flip([0]).slice([3], [0]));
  expect([empty.dataSync(), await empty.data()]).toEqual([new Float32Array(0), new Float32Array(0)]);
  empty.dispose();
});
