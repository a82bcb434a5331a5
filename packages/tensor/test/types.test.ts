import { errorText } from "@revnet-zero/testkit";
import { describe, expect, expectTypeOf, test } from "vitest";
import {
  type Broadcast,
  broadcastShapes,
  type MatmulShape,
  type Shape,
  type ShapeMismatch,
  Tensor,
  tensor,
  zeros,
} from "../src/index.ts";
import { newEngine } from "./engine.fixture.ts";

// `npm run types` judges the types; what runs proves that the shapes they promise are the shapes there are.

const engine = newEngine();

/** A tensor whose type knows its sizes. */
const of = <const S extends Shape>(shape: S): Tensor<S> =>
  tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), { shape, engine });

/** A size that the types cannot know. */
const unknownSize = (n: number): number => n;

describe("a literal shape", () => {
  test("is known where values are made with one, and Shape where they are not", () => {
    const x = tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3], engine });
    expectTypeOf(x.shape).toEqualTypeOf<readonly [2, 3]>();
    expect(x.shape).toEqual([2, 3]);
    expectTypeOf(tensor([[1, 2]], { engine }).shape).toEqualTypeOf<Shape>();
    expectTypeOf(zeros([2, 3], { engine }).shape).toEqualTypeOf<Shape>();
  });

  test("passes through what works element by element, in any type of element", () => {
    const x = of([2, 3]);
    const y = x.exp().neg().cast("bf16").cast("f32").gelu().isNaN();
    expectTypeOf(y.shape).toEqualTypeOf<readonly [2, 3]>();
    expect(y.shape).toEqual([2, 3]);
    const weight = zeros([3], { engine });
    const normed = x.rmsNorm(weight).layerNorm(weight, weight);
    expectTypeOf(normed.shape).toEqualTypeOf<readonly [2, 3]>();
    expect(normed.shape).toEqual([2, 3]);
  });

  test("fits where any tensor is wanted, and not where another shape is", () => {
    const anyRank = (t: Tensor): number => t.rank;
    const square = (t: Tensor<readonly [2, 2]>): number => t.size;
    expect(anyRank(of([2, 3]))).toBe(2);
    expect(square(of([2, 2]))).toBe(4);
    // @ts-expect-error 3 is not 2
    expect(square(of([2, 3]))).toBe(6);
    // @ts-expect-error another rank
    expect(square(of([4]))).toBe(4);
    // @ts-expect-error what is not known is not [2, 2]
    expect(square(zeros([2, 2], { engine }))).toBe(4);
  });
});

describe("arithmetic", () => {
  test("broadcasts literal shapes as it broadcasts sizes", () => {
    const row = of([2, 3]).add(of([3]));
    expectTypeOf(row.shape).toEqualTypeOf<[2, 3]>();
    expect(row.shape).toEqual([2, 3]);
    const both = of([4, 1, 3]).mul(of([2, 1]));
    expectTypeOf(both.shape).toEqualTypeOf<[4, 2, 3]>();
    expect(both.shape).toEqual([4, 2, 3]);
    const scalar = of([]).sub(of([2, 2]));
    expectTypeOf(scalar.shape).toEqualTypeOf<[2, 2]>();
    expect(scalar.shape).toEqual([2, 2]);
    const empty = of([0, 3]).div(of([1, 3]));
    expectTypeOf(empty.shape).toEqualTypeOf<[0, 3]>();
    expect(empty.shape).toEqual([0, 3]);
  });

  test("with a number keeps the shape", () => {
    const x = of([2, 3]).add(1).mul(2).div(3).sub(4);
    expectTypeOf(x.shape).toEqualTypeOf<[2, 3]>();
    expect(x.shape).toEqual([2, 3]);
  });

  test("says in the type and at run time why two shapes do not broadcast", () => {
    const clash = (): unknown => {
      const sum = of([2, 3]).add(of([4]));
      expectTypeOf(sum.shape).toEqualTypeOf<ShapeMismatch<"cannot broadcast [2, 3] with [4]">>();
      return sum;
    };
    expect(errorText(clash)).toContain("cannot broadcast [2, 3] with [4]");
    // No literal shape accepts a mismatch.
    // @ts-expect-error
    expect(() => of([2, 3]).add(of([2])) satisfies Tensor<readonly [2, 3]>).toThrow("cannot broadcast");
  });

  test("with a size that is not known gives Shape", () => {
    const n = unknownSize(2);
    const sum = of([2, 3]).add(of([n, 3]));
    expectTypeOf(sum.shape).toEqualTypeOf<Shape>();
    expect(sum.shape).toEqual([2, 3]);
    expectTypeOf(of([2, 3]).add(zeros([3], { engine })).shape).toEqualTypeOf<Shape>();
    expectTypeOf(zeros([3], { engine }).add(of([2, 3])).shape).toEqualTypeOf<Shape>();
    // Once, a size that is one of two was a mismatch with either.
    const width: 3 | 5 = [3 as const, 5 as const][unknownSize(0)]!;
    const either = of([width]).add(of([2, 3]));
    expectTypeOf(either.shape).toEqualTypeOf<Shape>();
    expect(either.shape).toEqual([2, 3]);
    expectTypeOf(of([2, width]).matmul(of([3, 4])).shape).toEqualTypeOf<Shape>();
  });
});

describe("a matrix product", () => {
  test("of literal matrices has their outer sizes", () => {
    const c = of([2, 3])
      .matmul(of([3, 4]))
      .matmul(of([4, 1]));
    expectTypeOf(c.shape).toEqualTypeOf<[2, 1]>();
    expect(c.shape).toEqual([2, 1]);
    // It goes on into arithmetic.
    const shifted = c.add(of([1])).matmul(of([1, 5]));
    expectTypeOf(shifted.shape).toEqualTypeOf<[2, 5]>();
    expect(shifted.shape).toEqual([2, 5]);
  });

  test("says in the type and at run time that inner sizes differ", () => {
    const clash = (): unknown => {
      const c = of([2, 3]).matmul(of([4, 5]));
      expectTypeOf(c.shape).toEqualTypeOf<ShapeMismatch<"inner sizes differ: [2, 3] x [4, 5]">>();
      return c;
    };
    expect(errorText(clash)).toContain("inner sizes differ");
    // @ts-expect-error
    expect(() => of([2, 3]).matmul(of([4, 5])) satisfies Tensor<readonly [2, 5]>).toThrow("inner sizes differ");
  });

  test("of batches, or with a size that is not known, gives Shape", () => {
    const batched = of([7, 2, 3]).matmul(of([3, 4]));
    expectTypeOf(batched.shape).toEqualTypeOf<Shape>();
    expect(batched.shape).toEqual([7, 2, 4]);
    const n = unknownSize(3);
    const known = of([2, n]).matmul(of([3, 4]));
    expectTypeOf(known.shape).toEqualTypeOf<Shape>();
    expect(known.shape).toEqual([2, 4]);
    expectTypeOf(zeros([2, 3], { engine }).matmul(of([3, 4])).shape).toEqualTypeOf<Shape>();
  });
});

describe("a reshape", () => {
  test("has the shape it is given", () => {
    const x = of([2, 6]).reshape([3, 4]);
    expectTypeOf(x.shape).toEqualTypeOf<readonly [3, 4]>();
    expect(x.shape).toEqual([3, 4]);
    // From a shape that is not known to one that is.
    const y = zeros([12], { engine })
      .reshape([2, 6])
      .matmul(of([6, 1]));
    expectTypeOf(y.shape).toEqualTypeOf<[2, 1]>();
    expect(y.shape).toEqual([2, 1]);
    expectTypeOf(x.reshape([3, 4] as number[]).shape).toEqualTypeOf<number[]>();
  });

  test("with -1 does not claim a size of -1", () => {
    // Once, the type was [-1, 4], and a sum with [3, 4] was a mismatch to the compiler.
    const x = of([2, 6]).reshape([-1, 4]);
    expectTypeOf(x.shape).toEqualTypeOf<readonly [number, 4]>();
    expect(x.shape).toEqual([3, 4]);
    const sum = x.add(of([3, 4]));
    expectTypeOf(sum.shape).toEqualTypeOf<Shape>();
    expect(sum.shape).toEqual([3, 4]);
    const product = x.matmul(of([4, 5]));
    expectTypeOf(product.shape).toEqualTypeOf<Shape>();
    expect(product.shape).toEqual([3, 5]);
  });
});

test("what moves axes gives Shape, to which a reshape gives sizes again", () => {
  const x = of([2, 3]);
  expectTypeOf(x.transpose().shape).toEqualTypeOf<Shape>();
  expectTypeOf(x.sum(0).shape).toEqualTypeOf<Shape>();
  expectTypeOf(x.flatten().shape).toEqualTypeOf<Shape>();
  const product = x.transpose().reshape([3, 2]).matmul(x);
  expectTypeOf(product.shape).toEqualTypeOf<[3, 3]>();
  expect(product.shape).toEqual([3, 3]);
  expect(product).toBeInstanceOf(Tensor);
});

test("the types alone: Broadcast and MatmulShape", () => {
  expectTypeOf<Broadcast<[], []>>().toEqualTypeOf<[]>();
  expectTypeOf<Broadcast<[1], [0]>>().toEqualTypeOf<[0]>();
  expectTypeOf<Broadcast<[5, 1, 3], [2, 1]>>().toEqualTypeOf<[5, 2, 3]>();
  expectTypeOf<Broadcast<[2, 3], [3, 2]>>().toEqualTypeOf<ShapeMismatch<"cannot broadcast [2, 3] with [3, 2]">>();
  expectTypeOf<Broadcast<[2, number], [2, 3]>>().toEqualTypeOf<Shape>();
  expectTypeOf<Broadcast<number[], [2, 3]>>().toEqualTypeOf<Shape>();
  expectTypeOf<Broadcast<[2, 3] | [3], [2, 3]>>().toEqualTypeOf<Shape>();
  expectTypeOf<MatmulShape<[2, 3], [3, 4]>>().toEqualTypeOf<[2, 4]>();
  expectTypeOf<MatmulShape<[2, 3], [3]>>().toEqualTypeOf<Shape>();
  expectTypeOf<MatmulShape<Shape, [3, 4]>>().toEqualTypeOf<Shape>();
  expect(broadcastShapes("add", [5, 1, 3], [2, 1])).toEqual([5, 2, 3] satisfies Broadcast<[5, 1, 3], [2, 1]>);
});
