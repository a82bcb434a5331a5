import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, randomKey, zeros } from "@revnet-zero/tensor";
import { errorText } from "@revnet-zero/testkit";
import { expect, test } from "vitest";
import { Conv2d, GroupNorm } from "../src/index.ts";

const engine = new Engine(new CpuBackend());

test("layers of images refuse what is none, and sizes that do not fit", () => {
  const x = zeros([2, 4], { engine });
  const common = { key: randomKey(1), engine };
  expect(errorText(() => new GroupNorm({ dim: 4, engine }).call(x))).toMatchInlineSnapshot(`
    "ShapeError: GroupNorm: needs [batch, 4, h, w], got [2, 4] f32
      hint: unsqueeze(0) a single image"
  `);
  expect(errorText(() => new GroupNorm({ dim: 4, groups: 3, engine }))).toMatchInlineSnapshot(`
    "ValueError: GroupNorm: 4 channels do not divide into 3 groups
      hint: make dim a multiple of groups"
  `);
  expect(errorText(() => new Conv2d({ in: 1, out: 0, ...common }))).toMatchInlineSnapshot(`
    "ValueError: Conv2d: out is 0
      hint: out is a positive integer"
  `);
  expect(errorText(() => new Conv2d({ in: 1, out: 2, ...common }).call(x))).toMatchInlineSnapshot(`
    "ShapeError: conv2d: needs [n, c, h, w] and [out, c/groups, kh, kw], got [2, 4] f32, [2, 1, 3, 3] f32
      hint: conv1d takes [n, c, time]; unsqueeze(0) a single image"
  `);
});
