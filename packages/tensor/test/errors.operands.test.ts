import { CpuBackend } from "@revnet-zero/backend-cpu";
import { errorText, wrapBackend } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { type DType, dispatch, Engine, ops, type Shape, type Tensor, zeros } from "../src/index.ts";
import { newEngine } from "./engine.fixture.ts";

/** The messages of several mistakes, one under the other. */
const texts = (...mistakes: (() => unknown)[]): string => `\n${mistakes.map(errorText).join("\n")}\n`;

const engine = newEngine();
const t = (shape: Shape, dtype: DType = "f32"): Tensor => zeros(shape, { dtype, engine });

describe("operands of ops with roles say which role is wrong", () => {
  test("in attention and rotary positions", () => {
    const q = t([1, 2, 3, 4]);
    expect(
      texts(
        () => t([2, 3, 4]).attention(q, q),
        () => q.attention(t([1, 2, 3, 4], "f64"), q),
        () => q.attention(q, q, { window: 2 }),
        () => q.attention(q, q, { window: 1.5, isCausal: true }),
        () => q.attention(t([1, 2, 2, 4]), t([1, 2, 2, 4]), { isCausal: true }),
        () => t([3, 4]).rope(t([3])),
        () => t([3, 4], "i32").rope(t([3], "i32")),
      ),
    ).toMatchInlineSnapshot(`
      "
      ShapeError: attention: needs q, k, v of [batch, heads, time, dim], got [2, 3, 4] f32, [1, 2, 3, 4] f32, [1, 2, 3, 4] f32
        hint: split the heads: x.reshape([b, t, h, d]).permute([0, 2, 1, 3])
      DTypeError: attention: needs float tensors of one dtype, got [1, 2, 3, 4] f32, [1, 2, 3, 4] f64, [1, 2, 3, 4] f32
        hint: cast first: x.cast("f32")
      ValueError: attention: window is 2 with isCausal false
        hint: a window is a positive integer and needs a causal mask
      ValueError: attention: window is 1.5 with isCausal true
        hint: a window is a positive integer and needs a causal mask
      ShapeError: attention: 3 queries of q [1, 2, 3, 4] f32 and 2 keys of k [1, 2, 2, 4] f32: with a causal mask the first 1 queries see no key
        hint: give at least as many keys as queries
      DTypeError: rope: needs a float tensor and i32 positions, got [3, 4] f32, [3] f32
        hint: positions: x.rangeOf(time, "i32")
      DTypeError: rope: needs a float tensor and i32 positions, got [3, 4] i32, [3] i32
        hint: positions: x.rangeOf(time, "i32")
      "
    `);
  });

  test("in convolutions", () => {
    expect(
      texts(
        () => t([2, 4, 4]).conv2d(t([1, 2, 3, 3])),
        () => t([1, 2, 4, 4]).conv2d(t([1, 2, 3, 3], "bf16")),
        () => t([1, 2, 4, 4]).conv2d(t([3, 1, 3, 3]), { groups: 2 }),
        () => t([1, 1, 4, 4]).conv2d(t([2, 2, 3, 3]), { groups: 0.5 }),
        () => t([1, 2, 4]).conv1d(t([1, 2, 5])),
        () => t([1, 1, 4, 4]).conv2d(t([1, 1, 3, 3]), { padding: [0, -1] }),
      ),
    ).toMatchInlineSnapshot(`
      "
      ShapeError: conv2d: needs [n, c, h, w] and [out, c/groups, kh, kw], got [2, 4, 4] f32, [1, 2, 3, 3] f32
        hint: conv1d takes [n, c, time]; unsqueeze(0) a single image
      DTypeError: conv2d: needs float tensors of one dtype, got [1, 2, 4, 4] f32, [1, 2, 3, 3] bf16
        hint: cast first: x.cast("f32")
      ShapeError: conv2d: input [1, 2, 4, 4] f32 and weight [3, 1, 3, 3] f32 do not fit 2 groups
        hint: the weight's second axis is channels / groups, and groups divides out
      ValueError: conv2d: groups is 0.5
        hint: use an integer of at least 1
      ShapeError: conv2d: kernel reaches 5 along spatial axis 1, the padded input has 4
        hint: pad the input or use a smaller kernel
      ValueError: conv2d: padding is [0, -1]
        hint: use two integers of at least 0
      "
    `);
  });

  test("in optimizer steps, streams and sums at indices", () => {
    const attrs = { beta1: 0.9, beta2: 0.9, eps: 1e-8, weightDecay: 0 };
    const [one, p] = [t([]), t([2])];
    const adamw = (...inputs: Tensor[]) => dispatch(engine, ops.adamw, inputs, attrs);
    const stream = { fractionBits: 20, sign: 1 } as const;
    expect(
      texts(
        () => adamw(one, t([3]), p, p, p),
        () => adamw(p, t([3]), p, p, p, p),
        () => adamw(one, t([2]), p, p, p, p),
        () => adamw(one, t([3]), p, t([3]), p, p),
        () => adamw(one, t([3]), p, t([2], "bf16"), p, p),
        () => dispatch(engine, ops.fixedPointAdd, [t([2], "i32"), t([3])], stream),
        () => dispatch(engine, ops.fixedPointAdd, [t([2]), t([2])], stream),
        () => dispatch(engine, ops.addNorm, [t([2]), t([2])], { eps: 1e-5 }),
        () => dispatch(engine, ops.addNorm, [t([2]), t([3]), t([2])], { eps: 1e-5 }),
        () => dispatch(engine, ops.fixedPointAddNorm, [t([2], "i32"), t([2]), t([3])], { ...stream, eps: 1e-5 }),
        () => dispatch(engine, ops.scatterAddAlong, [t([2], "i32"), t([3])], { axis: 0, size: 4 }),
      ),
    ).toMatchInlineSnapshot(`
      "
      ShapeError: adamw: takes a factor, a schedule and groups of four tensors, got 5 inputs
        hint: factor, schedule, then parameter, gradient and both moments of each
      ShapeError: adamw: the factor is [2] f32
        hint: give one float: factor.reshape([])
      ShapeError: adamw: the schedule is [2] f32
        hint: give learning rate, 1 - beta1^t, 1 - beta2^t as [3] f32
      ShapeError: adamw: parameter, gradient and moments differ: [2] f32, [3] f32, [2] f32, [2] f32
        hint: all four have one shape
      DTypeError: adamw: parameter, gradient and moments differ: [2] f32, [2] bf16, [2] f32, [2] f32
        hint: keep all four in one float dtype
      ShapeError: fixedPointAdd: stream and increment differ in shape: [2] i32, [3] f32
        hint: F must return the shape of its input stream
      DTypeError: fixedPointAdd: needs i32, got [2] f32
        hint: cast it first: x.cast("i32")
      ValueError: addNorm: takes 3 or 4 tensors, got 2
        hint: stream, increment, weight and, for a layer norm, bias
      ShapeError: addNorm: stream and increment differ: [2] f32, [3] f32
        hint: both need one shape and float types
      ShapeError: fixedPointAddNorm: parameter [3] f32 does not fit the last axis of [2] f32
        hint: a parameter is [2]
      ShapeError: scatterAddAlong: shapes differ: [2] i32, [3] f32
        hint: one index for every update
      "
    `);
  });

  test("of a backward op that is not given what its forward op gave", () => {
    expect(
      texts(
        () => dispatch(engine, ops.softmaxBackward, [t([2, 3]), t([3, 2])], undefined),
        () => dispatch(engine, ops.softmaxBackward, [t([2, 3]), t([2, 3], "f64")], undefined),
      ),
    ).toMatchInlineSnapshot(`
      "
      ShapeError: softmaxBackward: operand 1 of [2, 3] f32, [3, 2] f32 should be [2, 3] f32
        hint: give what the forward op was given and gave, and a gradient like its output
      ShapeError: softmaxBackward: operand 1 of [2, 3] f32, [2, 3] f64 should be [2, 3] f32
        hint: give what the forward op was given and gave, and a gradient like its output
      "
    `);
  });

  test("where there are too few of them, or too many", () => {
    expect(
      texts(
        () => dispatch(engine, ops.linear, [t([2, 2])], { activation: "none" }),
        () => dispatch(engine, ops.concat, [], { axis: 0 }),
        () => dispatch(engine, ops.add, [t([1]), t([1]), t([1])], undefined),
      ),
    ).toMatchInlineSnapshot(`
      "
      ValueError: linear: takes 2 or 3 tensors, got 1
        hint: input, weight and, if any, bias
      ValueError: concat: takes at least 1 tensor, got 0
        hint: a.concat([b, c])
      ValueError: add: takes 2 tensors, got 3
        hint: add is: x + y; integers wrap
      "
    `);
  });
});

test("a device without room lets go of its caches, tries once more, and then says what lives", () => {
  const calls: string[] = [];
  const backend = new CpuBackend();
  const full = new Engine(
    wrapBackend(backend, {
      name: "small",
      allocate: (dtype, elements) => {
        calls.push(`allocate ${elements}`);
        if (elements > 8) throw new RangeError("no room");
        return backend.allocate(dtype, elements);
      },
      releaseCaches: () => {
        calls.push("release");
      },
    }),
  );
  const kept = zeros([8], { engine: full });
  expect(errorText(() => zeros([9], { engine: full }))).toMatchInlineSnapshot(`
    "OutOfMemoryError: allocate: 36 bytes more exceed the small device's memory
      live: 32 bytes in 1 buffers (workspace 32)
        32 bytes f32 workspace
      hint: make the batch or the sequence shorter, use a reversible or checkpointed model, or dispose tensors earlier (scope)"
  `);
  expect(calls).toEqual(["allocate 8", "allocate 9", "release", "allocate 9"]);
  expect(full.memory().liveBytes).toBe(kept.bytes);
});

test("a failure of the device that is not about room is passed on as it is", () => {
  const broken = new Error("device lost");
  const lost = new Engine(
    wrapBackend(new CpuBackend(), {
      allocate: () => {
        throw broken;
      },
    }),
  );
  expect(() => zeros([1], { engine: lost })).toThrow(broken);
  expect(lost.memory()).toMatchObject({ liveBytes: 0, liveBuffers: 0 });
});
