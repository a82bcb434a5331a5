import { errorText } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import {
  arange,
  type DType,
  dispatch,
  ops,
  RevNetError,
  randomKey,
  randomUniform,
  type Shape,
  type Tensor,
  tensor,
  zeros,
} from "../src/index.ts";
import { newEngine } from "./engine.fixture.ts";

/** The messages of several mistakes, one under the other. */
const texts = (...mistakes: (() => unknown)[]): string => `\n${mistakes.map(errorText).join("\n")}\n`;

const engine = newEngine();
const t = (shape: Shape, dtype: DType = "f32"): Tensor => zeros(shape, { dtype, engine });

describe("types that an op does not take are named", () => {
  test("with the cast that helps", () => {
    expect(
      texts(
        () => t([2, 2], "i32").matmul(t([2, 2], "i32")),
        () => t([2, 2]).matmul(t([2, 2], "f64")),
        () => t([2, 2]).linear(t([2, 2], "bf16")),
        () => t([2], "i32").exp(),
        () => t([2]).bitwiseAnd(t([2])),
        () => dispatch(engine, ops.add, [t([2]), t([2], "i32")], undefined),
        () => dispatch(engine, ops.logicalAnd, [t([2], "i32"), t([2], "i32")], undefined),
        () => t([2]).where(t([2]), t([2])),
        () => t([2, 3]).concat([t([2, 3], "f64")]),
        () => t([2, 3]).writeSlice(t([1, 1], "i32"), [0, 0]),
        () => t([2, 3]).assign(t([2, 3], "bf16")),
        () => t([2, 3]).take(t([2])),
        () => t([2, 3], "i32").softmax(),
        () => t([2, 3]).crossEntropy(t([2])),
        () => t([2, 3]).rmsNorm(t([3], "f64")),
        () => t([2]).dequantise(20),
        () => tensor([1], { dtype: "float32" as DType, engine }),
        () => tensor([1], { dtype: "toString" as DType, engine }),
      ),
    ).toMatchInlineSnapshot(`
      "
      DTypeError: matmul: needs two float tensors of one dtype, or two of i8, got [2, 2] i32, [2, 2] i32
        hint: cast first: x.cast("f32")
      DTypeError: matmul: needs two float tensors of one dtype, or two of i8, got [2, 2] f32, [2, 2] f64
        hint: cast first: x.cast("f32")
      DTypeError: linear: needs float tensors of one dtype, got [2, 2] f32, [2, 2] bf16
        hint: cast first: x.cast("f32")
      DTypeError: exp: needs a floating-point tensor, got [2] i32
        hint: cast it first: x.cast("f32")
      DTypeError: bitwiseAnd: needs integer tensors, got [2] f32, [2] f32
        hint: cast them first: x.cast("i32")
      DTypeError: add: operands differ in dtype: [2] f32, [2] i32
        hint: cast one of them: x.cast("f32")
      DTypeError: logicalAnd: needs bool tensors, got [2] i32, [2] i32
        hint: compare first: x.notEqual(0)
      DTypeError: where: needs a bool condition and two values of one dtype, got [2] f32, [2] f32, [2] f32
        hint: compare first: x.greater(0).where(a, b)
      DTypeError: concat: dtypes differ: [2, 3] f32, [2, 3] f64
        hint: cast them to one dtype
      DTypeError: writeSlice: dtypes differ: [2, 3] f32, [1, 1] i32
        hint: cast the part first
      DTypeError: assign: dtypes differ: [2, 3] f32, [2, 3] bf16
        hint: cast the value first
      DTypeError: take: indices must be i32, got [2] f32
        hint: cast them: indices.cast("i32")
      DTypeError: softmax: needs a float tensor of rank 1 or more, got [2, 3] i32
        hint: cast it: x.cast("f32"), and unsqueeze(0) a scalar
      DTypeError: crossEntropy: needs float logits and i32 targets, got [2, 3] f32, [2] f32
        hint: cast first: x.cast("f32"), targets.cast("i32")
      DTypeError: rmsNorm: needs float tensors of one dtype, got [2, 3] f32, [3] f64
        hint: cast first: x.cast("f32")
      DTypeError: dequantise: needs i32, got [2] f32
        hint: cast it first: x.cast("i32")
      DTypeError: tensor: unknown dtype "float32"
        hint: use one of f64, f32, bf16, f16, i32, i16, i8, u8, bool
      DTypeError: tensor: unknown dtype "toString"
        hint: use one of f64, f32, bf16, f16, i32, i16, i8, u8, bool
      "
    `);
  });
});

describe("arguments out of range are refused", () => {
  test("axes, sizes, counts and probabilities", () => {
    expect(
      texts(
        () => t([2, 3]).sum(2),
        () => t([2, 3]).softmax(-3),
        () => t([2, 3]).sum([0, -2]),
        () => t([2, 3]).permute([0, 0]),
        () => t([2, 3]).slice([0], [1]),
        () => t([2, 3]).slice([0, 1], undefined as never),
        () => t([2, 3]).narrow(1, 2, 2),
        () => t([2, 3]).narrow(1, 0.5, 2),
        () => t([2, 3]).pad([[1, -1]]),
        () => t([2, 3]).topk(4),
        () => t([2, 3]).dropout(1, randomKey(1)),
        () => t([2]).quantise(31),
        () => t([1, 1, 4, 4]).conv2d(t([1, 1, 3, 3]), { stride: 0 }),
        () => arange(-1, { engine }),
        () => randomUniform([2], { key: randomKey(1), dtype: "i32", engine }),
        () => t([2], "bool").where(1, 2),
        () => engine.nextKey("dropout"),
      ),
    ).toMatchInlineSnapshot(`
      "
      ValueError: sum: axis 2 does not exist in a tensor of rank 2
        hint: use -2..1
      ValueError: softmax: axis -3 does not exist in a tensor of rank 2
        hint: use -2..1
      ValueError: sum: axis named twice in [0, 0]
        hint: name each axis once
      ValueError: permute: axis named twice in [0, 0]
        hint: name each axis once
      ValueError: slice: needs 2 starts and sizes, got 1 and 1
        hint: narrow(axis, start, size) cuts one axis
      ValueError: slice: needs 2 starts and sizes, got 2 and none
        hint: narrow(axis, start, size) cuts one axis
      ValueError: slice: [2, 4) leaves axis 1 of [2, 3]
        hint: starts and sizes are whole numbers, and start + size stays inside
      ValueError: slice: [0.5, 2.5) leaves axis 1 of [2, 3]
        hint: starts and sizes are whole numbers, and start + size stays inside
      ValueError: pad: pads [[1,-1]] do not fit [2, 3]
        hint: give one non-negative [before, after] for every axis
      ValueError: topk: k is 4, axis 1 of [2, 3] has 3 elements
        hint: use an integer k of at most the axis' size
      ValueError: dropout: p is 1
        hint: use a probability in [0, 1)
      ValueError: quantise: fractionBits is 31
        hint: use an integer from 0 to 30 (20 by default)
      ValueError: conv2d: stride is [0, 0]
        hint: use two integers of at least 1
      ValueError: arange: the count is -1
        hint: use a non-negative integer
      ValueError: random: dtype is i32
        hint: random numbers are floats; use randomWords for integers
      ValueError: where: both values are numbers
        hint: make one a tensor to say the dtype
      ValueError: dropout: no generator key is set
        hint: wrap the step in engine.withKey(randomKey(seed), () => …)
      "
    `);
  });

  test("indices that name no place, on the CPU", () => {
    const indices = tensor(Int32Array.of(0, 2), { engine });
    const negative = tensor(Int32Array.of(-1, 0), { engine });
    expect(
      texts(
        () => t([2, 3]).take(indices),
        () => t([2]).takeAlong(negative),
        () => t([2]).scatterAdd(indices, 0, 2),
        () => t([2, 2]).crossEntropy(indices),
      ),
    ).toMatchInlineSnapshot(`
      "
      ValueError: take: index 2 at position 1 names none of 2 places
        hint: indices count from 0; check the vocabulary or axis size
      ValueError: takeAlong: index -1 at position 0 names none of 2 places
        hint: indices count from 0; check the vocabulary or axis size
      ValueError: scatterAdd: index 2 at position 1 names none of 2 places
        hint: indices count from 0; check the vocabulary or axis size
      ValueError: crossEntropy: target 2 at position 1 names none of 2 classes
        hint: classes count from 0, and negative targets are left out; check the vocabulary size
      "
    `);
  });
});

test("an error carries its op and its hint as data, and keeps its cause", () => {
  const cause = new Error("disk");
  const error = new RevNetError("save", "no room", "delete something", { cause });
  expect({ op: error.op, hint: error.hint, message: error.message }).toEqual({
    op: "save",
    hint: "delete something",
    message: "save: no room\n  hint: delete something",
  });
  expect(error.cause).toBe(cause);
  expect(new RevNetError("save", "no room")).toMatchObject({ hint: undefined, message: "save: no room" });
});
