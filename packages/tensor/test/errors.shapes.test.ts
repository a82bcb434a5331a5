import { errorText } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { type DType, type Shape, type Tensor, tensor, zeros } from "../src/index.ts";
import { newEngine } from "./engine.fixture.ts";

/** The messages of several mistakes, one under the other. */
const texts = (...mistakes: (() => unknown)[]): string => `\n${mistakes.map(errorText).join("\n")}\n`;

const engine = newEngine();
const t = (shape: Shape, dtype: DType = "f32"): Tensor => zeros(shape, { dtype, engine });

describe("shapes that do not fit are told apart", () => {
  test("in arithmetic and products", () => {
    expect(
      texts(
        () => t([2, 3]).add(t([4])),
        () => t([2, 3]).matmul(t([2, 3])),
        () => t([2, 3]).matmul(t([2, 4])),
        () => t([2, 3]).matmul(t([5, 4])),
        () => t([3]).matmul(t([3])),
        () => t([2, 1, 3]).matmul(t([4, 3, 1])),
        () => t([2, 3]).linear(t([3, 4])),
        () => t([2, 3]).linear(t([4, 3]), t([3])),
      ),
    ).toMatchInlineSnapshot(`
      "
      ShapeError: add: cannot broadcast [2, 3] with [4]: axis -1 is 3 and 4
        hint: axes align from the right; each pair must be equal or one of them 1 (use unsqueeze or reshape to align)
      ShapeError: matmul: inner sizes differ: [2, 3] f32 x [2, 3] f32 has 3 and 2
        hint: did you mean a.matmul(b.transpose())?
      ShapeError: matmul: inner sizes differ: [2, 3] f32 x [2, 4] f32 has 3 and 2
        hint: did you mean a.transpose().matmul(b)?
      ShapeError: matmul: inner sizes differ: [2, 3] f32 x [5, 4] f32 has 3 and 5
        hint: the last axis of the first must equal the second-last of the second
      ShapeError: matmul: needs matrices, got [3] f32, [3] f32
        hint: unsqueeze a vector: v.unsqueeze(0) is a row, v.unsqueeze(1) a column
      ShapeError: matmul: cannot broadcast [2] with [4]: axis -1 is 2 and 4
        hint: axes align from the right; each pair must be equal or one of them 1 (use unsqueeze or reshape to align)
      ShapeError: linear: input [2, 3] f32 does not fit weight [3, 4] f32
        hint: the weight is [out, in] and the input's last axis is in
      ShapeError: linear: bias [3] f32 does not fit weight [4, 3] f32
        hint: the bias is [out]
      "
    `);
  });

  test("in reshapes, views and joins", () => {
    expect(
      texts(
        () => t([2, 3]).reshape([4]),
        () => t([2, 3]).reshape([-1, 4]),
        () => t([2, 3]).reshape([-1, -1]),
        () => t([2, 3]).reshape([-2, -3]),
        () => t([2, 1]).expand([2, 1.5]),
        () => t([2, 3]).expand([2, 2]),
        () => t([2, 3]).squeeze(1),
        () => t([2, 3]).split(2),
        () => t([2, 3]).split(-1),
        () => t([2, 3]).concat([t([3, 2])], 1),
        () => t([2, 3]).writeSlice(t([2, 2]), [0, 2]),
        () => t([2, 3]).assign(t([3, 2])),
        () => t([2, 3]).itemSync(),
      ),
    ).toMatchInlineSnapshot(`
      "
      ShapeError: reshape: [2, 3] has 6 elements, [4] has 4
        hint: the products of the sizes must agree; one size may be -1
      ShapeError: reshape: [2, 3] does not fit [-1, 4]
        hint: one size may be -1 and the others must divide the number of elements
      ShapeError: reshape: [2, 3] does not fit [-1, -1]
        hint: one size may be -1 and the others must divide the number of elements
      ValueError: reshape: [-2, -3] is no shape: -2 is not a non-negative integer
        hint: sizes are 0, 1, 2, …
      ValueError: expand: [2, 1.5] is no shape: 1.5 is not a non-negative integer
        hint: sizes are 0, 1, 2, …
      ShapeError: expand: [2, 3] does not expand to [2, 2]
        hint: only axes of size 1 can be repeated
      ShapeError: squeeze: axis 1 of [2, 3] has size 3
        hint: only axes of size 1 can go
      ShapeError: split: axis -1 of [2, 3] does not divide into 2 parts
        hint: pass the sizes of the parts: split([2, 3], axis)
      ShapeError: split: axis -1 of [2, 3] does not divide into -1 parts
        hint: pass the sizes of the parts: split([2, 3], axis)
      ShapeError: concat: operands must agree on every axis but 1: [2, 3] f32, [3, 2] f32
        hint: reshape or pad the others, or join along another axis
      ShapeError: writeSlice: the part at [0, 2] leaves the tensor: [2, 3] f32, [2, 2] f32
        hint: starts are whole numbers, one for every axis, and start + size stays inside
      ShapeError: assign: shapes differ: [2, 3] f32, [3, 2] f32
        hint: reshape or expand the value first
      ShapeError: itemSync: [2, 3] f32 has 6 elements
        hint: reduce it first, or use data()
      "
    `);
  });

  test("in gathers, norms, losses, attention and convolutions", () => {
    expect(
      texts(
        () => t([2, 3]).takeAlong(t([3, 3], "i32"), 1),
        () => t([2, 3]).scatterAdd(t([4], "i32"), 0, 5),
        () => t([2, 3]).layerNorm(t([2]), t([3])),
        () => t([2, 3]).crossEntropy(t([3], "i32")),
        () => t([2, 3]).rope(t([2], "i32")),
        () => t([2, 4]).rope(t([3], "i32")),
        () => t([1, 2, 3, 4]).attention(t([1, 2, 3, 5]), t([1, 2, 3, 4])),
        () => t([1, 3, 3, 4]).attention(t([1, 2, 3, 4]), t([1, 2, 3, 4])),
        () => t([1, 2, 4, 4]).conv2d(t([3, 1, 3, 3])),
        () => t([1, 2, 2, 2]).conv2d(t([3, 2, 3, 3])),
        () => t([0, 2]).max(0),
      ),
    ).toMatchInlineSnapshot(`
      "
      ShapeError: takeAlong: operands must agree on every axis but 1: [2, 3] f32, [3, 3] i32
        hint: unsqueeze or expand the indices to the tensor's axes
      ShapeError: scatterAdd: updates do not carry the indices' shape at axis 0: [4] i32, [2, 3] f32
        hint: updates are [...before, ...indices, ...after], as take gives them
      ShapeError: layerNorm: parameter [2] f32 does not fit the last axis of [2, 3] f32
        hint: a parameter is [3]
      ShapeError: crossEntropy: needs logits [n, classes] and targets [n], got [2, 3] f32, [3] i32
        hint: reshape both to rows first
      ShapeError: rope: needs [..., time, even dim], got [2, 3] f32
        hint: use an even head size
      ShapeError: rope: positions [3] i32 do not fit [2, 4] f32
        hint: one position per time step
      ShapeError: attention: q [1, 2, 3, 4] f32, k [1, 2, 3, 5] f32 and v [1, 2, 3, 4] f32 do not fit
        hint: batch and dim agree; k and v share heads and time
      ShapeError: attention: 3 query heads are not a multiple of 2 key heads
        hint: grouped-query attention shares each key head among equal groups
      ShapeError: conv2d: input [1, 2, 4, 4] f32 and weight [3, 1, 3, 3] f32 do not fit 1 groups
        hint: the weight's second axis is channels / groups, and groups divides out
      ShapeError: conv2d: kernel reaches 3 along spatial axis 0, the padded input has 2
        hint: pad the input or use a smaller kernel
      ShapeError: max: no elements to reduce over in [0, 2]
        hint: an empty axis has a sum, but no extremum
      "
    `);
  });

  test("in values from the host", () => {
    expect(
      texts(
        () => tensor([[1, 2], [3]], { engine }),
        () => tensor([1, [2]], { engine }),
        () => tensor([1, 2, 3], { shape: [2, 2], engine }),
        () => tensor([Float32Array.of(1, 2), Float32Array.of(3, 4)] as never, { engine }),
        () => tensor([[1], ["2"]] as never, { engine }),
        () => tensor("12" as never, { engine }),
        () => tensor(null as never, { engine }),
        () => tensor(BigInt64Array.of(1n) as never, { engine }),
        () => t([2, -1]),
        () => t([1.5]),
      ),
    ).toMatchInlineSnapshot(`
      "
      ShapeError: tensor: nested arrays are ragged at depth 1: expected [2, 2]
        hint: every row of an axis must have one length
      ShapeError: tensor: nested arrays are ragged at depth 1: expected [2]
        hint: every row of an axis must have one length
      ShapeError: tensor: 3 values do not fill [2, 2]
        hint: give 4 values, or another shape
      DTypeError: tensor: got Float32Array where numbers should be
        hint: give numbers, truth values, nested arrays of them, or one typed array with { shape }
      DTypeError: tensor: got string 2 where numbers should be
        hint: give numbers, truth values, nested arrays of them, or one typed array with { shape }
      DTypeError: tensor: got string 12 where numbers should be
        hint: give numbers, truth values, nested arrays of them, or one typed array with { shape }
      DTypeError: tensor: got null where numbers should be
        hint: give numbers, truth values, nested arrays of them, or one typed array with { shape }
      DTypeError: tensor: got bigint 1 where numbers should be
        hint: give numbers, truth values, nested arrays of them, or one typed array with { shape }
      ValueError: fill: [2, -1] is no shape: -1 is not a non-negative integer
        hint: sizes are 0, 1, 2, …
      ValueError: fill: [1.5] is no shape: 1.5 is not a non-negative integer
        hint: sizes are 0, 1, 2, …
      "
    `);
  });
});
