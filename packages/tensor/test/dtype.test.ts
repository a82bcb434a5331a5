import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { allDTypes, type DType, dtypes, gradientDType, isFloat, isInteger, promote, toWords } from "../src/index.ts";

const anyDType = fc.constantFrom<DType>(...allDTypes);

describe("promotion", () => {
  test("is symmetric, and a type meets itself unchanged", () => {
    fc.assert(
      fc.property(anyDType, anyDType, (a, b) => {
        expect(promote(a, b)).toBe(promote(b, a));
        expect(promote(a, a)).toBe(a);
      }),
    );
  });

  test("is associative but where u8 and i8, or bf16 and f16, have met in the type that holds both", () => {
    const exceptions: string[] = [];
    for (const a of allDTypes)
      for (const b of allDTypes)
        for (const c of allDTypes) {
          if (promote(promote(a, b), c) !== promote(a, promote(b, c))) exceptions.push([a, b, c].join());
        }
    const mixes = (x: string): boolean => /bf16|f16/.test(x) && x.includes("f16") && x.includes("bf16");
    expect(exceptions.filter((x) => !mixes(x) && !(x.includes("u8") && x.includes("i8")))).toEqual([]);
  });

  test("integers that meet fit in the result, and floats win over integers", () => {
    for (const a of allDTypes.filter((d) => !isFloat(d))) {
      for (const b of allDTypes) {
        const met = promote(a, b);
        if (isFloat(b)) expect(met).toBe(b);
        else {
          const [low, high] = dtypes[met].range!;
          for (const [l, h] of [dtypes[a].range!, dtypes[b].range!]) {
            expect(low).toBeLessThanOrEqual(l);
            expect(high).toBeGreaterThanOrEqual(h);
          }
        }
      }
    }
  });

  test("the table", () => {
    const rows = allDTypes.map((a) =>
      allDTypes
        .map((b) => promote(a, b).padEnd(4))
        .join(" ")
        .trimEnd(),
    );
    expect(rows).toMatchInlineSnapshot(`
      [
        "f64  f64  f64  f64  f64  f64  f64  f64  f64",
        "f64  f32  f32  f32  f32  f32  f32  f32  f32",
        "f64  f32  bf16 f32  bf16 bf16 bf16 bf16 bf16",
        "f64  f32  f32  f16  f16  f16  f16  f16  f16",
        "f64  f32  bf16 f16  i32  i32  i32  i32  i32",
        "f64  f32  bf16 f16  i32  i16  i16  i16  i16",
        "f64  f32  bf16 f16  i32  i16  i8   i16  i8",
        "f64  f32  bf16 f16  i32  i16  i16  u8   u8",
        "f64  f32  bf16 f16  i32  i16  i8   u8   bool",
      ]
    `);
  });
});

test("a gradient has its tensor's type if that is a float, else f32", () => {
  for (const d of allDTypes) expect(gradientDType(d)).toBe(isFloat(d) ? d : "f32");
});

test("kinds and sizes agree with the arrays that hold the words", () => {
  for (const d of allDTypes) {
    expect(new dtypes[d].array(1).BYTES_PER_ELEMENT).toBe(dtypes[d].bytes);
    expect(isInteger(d) || isFloat(d) || d === "bool").toBe(true);
  }
});

test("host numbers become integers toward zero, saturating, NaN as 0", () => {
  fc.assert(
    fc.property(anyDType, fc.double(), (d, v) => {
      const { range, kind } = dtypes[d];
      if (kind !== "int") return;
      const [word] = toWords([v], d);
      expect(word).toBe(Number.isNaN(v) ? 0 : Math.trunc(Math.min(Math.max(v, range![0]), range![1])) + 0);
    }),
  );
  expect([...toWords([2, 0, -1, Number.NaN], "bool")]).toEqual([1, 0, 1, 1]);
});
