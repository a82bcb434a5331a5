import { CpuBackend } from "@revnet-zero/backend-cpu";
import {
  type DType,
  Engine,
  foldKey,
  randomKey,
  randomNormal,
  type Shape,
  type Tensor,
  zeros,
} from "@revnet-zero/tensor";
import { errorText, gradcheck, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Attention, CrossAttention, initializers } from "../src/index.ts";

const engine = new Engine(new CpuBackend());
const key = randomKey(7);
const noise = (shape: Shape, n: number, dtype: DType = "f32"): Tensor =>
  randomNormal(shape, { key: foldKey(key, n), engine, dtype });

const configs = fc
  .record({
    dim: fc.integer({ min: 1, max: 6 }),
    numKeyValueHeads: fc.integer({ min: 1, max: 2 }),
    group: fc.integer({ min: 1, max: 2 }),
    headDim: fc.integer({ min: 1, max: 4 }),
    bias: fc.boolean(),
  })
  .map(({ group, ...rest }) => ({ ...rest, numHeads: group * rest.numKeyValueHeads }));

test("to itself, it is self-attention without a mask, with the rows of one projection in two", () => {
  fc.assert(
    fc.property(configs, (config) => {
      engine.scope(() => {
        const common = { ...config, init: initializers.normal(0.5), key, engine };
        const cross = new CrossAttention(common);
        const own = new Attention({ ...common, isCausal: false });
        for (const p of cross.parameters()) if (p.rank === 1) p.assign(noise(p.shape, p.size));
        own.qkv.weight.assign(cross.query.weight.concat([cross.keyValue.weight]));
        own.out.weight.assign(cross.out.weight);
        if (config.bias) {
          own.qkv.bias!.assign(cross.query.bias!.concat([cross.keyValue.bias!]));
          own.out.bias!.assign(cross.out.bias!);
        }
        const x = noise([2, 5, config.dim], 1);
        const difference = cross.call(x, x).sub(own.call(x)).abs().max().itemSync();
        expect(difference).toBeLessThan(1e-5);
        cross.dispose();
        own.dispose();
      });
    }),
    runs(30),
  );
});

test("has the gradients of its formula by sequence, memory and parameters", async () => {
  const cross = new CrossAttention({ dim: 4, memoryDim: 3, numHeads: 2, key, engine, dtype: "f64" });
  const inputs = [noise([2, 3, 4], 1, "f64"), noise([2, 5, 3], 2, "f64")];
  await gradcheck((x, memory) => cross.call(x!, memory!), inputs, { parameters: cross.parameters(), elements: 4 });
  for (const x of inputs) x.dispose();
  cross.dispose();
});

test("refuses heads that cannot share, and a memory that is missing or of another batch", () => {
  expect(
    errorText(() => new CrossAttention({ dim: 4, numHeads: 4, numKeyValueHeads: 3, key, engine })),
  ).toMatchInlineSnapshot(`
    "ValueError: CrossAttention: 4 heads do not divide among 3 key-value heads
      hint: make numHeads a multiple of numKeyValueHeads"
  `);
  const cross = new CrossAttention({ dim: 4, numHeads: 2, key, engine });
  const [x, other] = [zeros([2, 3, 4], { engine }), zeros([1, 3, 4], { engine })];
  expect(errorText(() => cross.call(x, undefined as never))).toMatchInlineSnapshot(`
    "ShapeError: CrossAttention: needs [batch, time, dim] and a memory [batch, places, memoryDim], got [2, 3, 4] f32
      hint: call(x, memory), both of one batch"
  `);
  expect(errorText(() => cross.call(x, other))).toMatchInlineSnapshot(`
    "ShapeError: CrossAttention: needs [batch, time, dim] and a memory [batch, places, memoryDim], got [2, 3, 4] f32, [1, 3, 4] f32
      hint: call(x, memory), both of one batch"
  `);
  cross.dispose();
});
