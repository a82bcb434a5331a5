import { contiguous, type Shape } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CudaView } from "../src/device/device.ts";
import { waysFor } from "../src/kernels/attention/choose.ts";
import { partOf, takesGraph } from "../src/kernels/attention/graphs.ts";
import type { AttentionOperands } from "../src/kernels/attention/operands.ts";

const view = (shape: Shape, changes: Partial<CudaView> = {}): CudaView => ({
  ...contiguous(shape),
  dtype: "bf16",
  data: { address: 2 ** 40, bytes: 2 ** 30 },
  ...changes,
});

const operands = (shape: Shape, changes: Partial<AttentionOperands> = {}): AttentionOperands => ({
  q: view(shape),
  k: view(shape),
  v: view(shape),
  out: view(shape),
  lse: 2 ** 41,
  ...changes,
});

const [hopper, ampere] = [{ hasWarpgroups: true }, { hasWarpgroups: false }];

const causal = { scale: 0.125, isCausal: true };

describe("which attention cuDNN's graphs take", () => {
  const usual = [2, 12, 1024, 64];

  test("which come first of the ways that take it, where cuDNN is", () => {
    expect(waysFor(hopper, operands(usual), causal, () => true)).toEqual(["cuDNN", "hopper", "tiles"]);
    expect(waysFor(hopper, operands(usual), causal, () => false)).toEqual(["hopper", "tiles"]);
    const backward = operands(usual, { g: view(usual), delta: 2 ** 42 });
    expect(waysFor(hopper, backward, causal, () => true)).toEqual(["hopper", "cuDNN", "tiles"]);
    expect(waysFor(hopper, operands(usual), { ...causal, window: 128 }, () => true)).toEqual(["hopper", "tiles"]);
    expect(waysFor(ampere, operands(usual), causal, () => true)).toEqual(["cuDNN", "tiles"]);
    expect(waysFor(hopper, operands([2, 12, 8, 64]), causal, () => true)).toEqual(["tiles", "rows"]);
    expect(waysFor(hopper, operands([2, 12, 1024, 256]), causal, () => true)).toEqual(["rows"]);
    expect(waysFor(hopper, operands(usual), { ...causal, scale: -1 }, () => false)).toEqual(["tiles"]);
  });

  test("heads of a packed projection, of every size that fills its tiles", () => {
    expect(takesGraph(operands(usual), causal)).toBe(true);
    const strides = [1024 * 36 * 64, 64, 36 * 64, 1];
    expect(takesGraph(operands(usual, { q: view(usual, { strides }) }), causal)).toBe(true);
    expect(takesGraph(operands([1, 1, 64, 128]), { ...causal, isCausal: false })).toBe(true);
  });

  test.each<[string, Partial<AttentionOperands>, object]>([
    ["float32", { q: view(usual, { dtype: "f32" }) }, {}],
    ["shared key heads", { k: view([2, 4, 1024, 64]), v: view([2, 4, 1024, 64]) }, {}],
    ["a window", {}, { window: 128 }],
    ["values of another size", { v: view([2, 12, 1024, 32]) }, {}],
    [
      "an odd size of heads",
      { q: view([2, 12, 1024, 60]), k: view([2, 12, 1024, 60]), v: view([2, 12, 1024, 60]) },
      {},
    ],
    ["few queries", { q: view([2, 12, 32, 64]) }, { isCausal: false }],
    ["a causal mask over more keys than queries", { q: view([2, 12, 512, 64]) }, {}],
    ["an address between packs", { q: view(usual, { offset: 4 }) }, {}],
    ["rows between packs", { q: view(usual, { strides: [12 * 1024 * 68, 1024 * 68, 68, 1] }) }, {}],
  ])("not %s", (_, changes, attrs) => {
    expect(takesGraph(operands(usual, changes), { ...causal, ...attrs })).toBe(false);
  });

  test("parts of a backward pass divide batch and heads, and need at most 1 GiB or are one head", () => {
    const size = fc.integer({ min: 1, max: 48 });
    const length = fc.integer({ min: 64, max: 32768 });
    fc.assert(
      fc.property(fc.record({ batch: size, heads: size, t: length, s: length }), (sizes) => {
        const [batches, heads] = partOf(sizes, true);
        expect(sizes.batch % batches).toBe(0);
        expect(sizes.heads % heads).toBe(0);
        const bytes = 2 * batches * heads * sizes.t * sizes.s;
        if (batches * heads > 1) expect(bytes).toBeLessThanOrEqual(2 ** 30);
        expect(partOf(sizes, false)).toEqual([sizes.batch, sizes.heads]);
      }),
      runs(200),
    );
  });
});
