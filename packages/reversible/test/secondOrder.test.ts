import { grad, type Tensor, tensor } from "@revnet-zero/tensor";
import { expectBitEqual, expectClose, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { test } from "vitest";
import { type ReversibleBlock, type ReversibleMode, ReversibleSequence } from "../src/index.ts";
import { newEngine } from "./fixtures.ts";

const engine = newEngine();
const n = 8;

/** y1 = x1 + sin(x2), y2 = x2 + y1³/6. */
const block: ReversibleBlock = {
  F: (x) => x.sin(),
  G: (y) =>
    y
      .mul(y)
      .mul(y)
      .mul(1 / 6),
};

interface Problem {
  readonly x1: Float64Array;
  readonly x2: Float64Array;
  readonly c1: Float64Array;
  readonly c2: Float64Array;
  readonly v: Float64Array;
}

/**
 * Derivatives of Σ v ∂L/∂x2 by x1 and x2, for L = Σ c1 y1 + c2 y2. The straight-through rule makes the streams' grid
 * the identity, so they are those of the real function.
 */
function byHand({ x1, x2, c1, c2, v }: Problem): Float64Array[] {
  const y1 = x1.map((x, i) => x + Math.sin(x2[i]!));
  // s = ∂L/∂y1 = c1 + c2 y1²/2, and ∂L/∂x2 = c2 + cos(x2) s.
  const byX1 = y1.map((y, i) => v[i]! * Math.cos(x2[i]!) * c2[i]! * y);
  const byX2 = y1.map((y, i) => {
    const s = c1[i]! + (c2[i]! * y * y) / 2;
    return v[i]! * (-Math.sin(x2[i]!) * s + Math.cos(x2[i]!) ** 2 * c2[i]! * y);
  });
  return [byX1, byX2];
}

function secondOrder(values: Problem, mode: ReversibleMode): Float32Array[] {
  return engine.scope(() => {
    // 26 bits after the point: finer than f32.
    const sequence = new ReversibleSequence({ blocks: [block], mode, fractionBits: 26, engine });
    const make = (data: Float64Array): Tensor => tensor(data, { dtype: "f32", engine });
    const [c1, c2, v] = [values.c1, values.c2, values.v].map(make) as [Tensor, Tensor, Tensor];
    const loss = (a: Tensor, b: Tensor): Tensor => {
      const [y1, y2] = sequence.call(a, b) as [Tensor, Tensor];
      return y1.mul(c1).add(y2.mul(c2)).sum();
    };
    const slope = (a: Tensor, b: Tensor): Tensor =>
      grad((x) => loss(a, x), [b])[0]!
        .mul(v)
        .sum();
    const found = grad(slope, [make(values.x1), make(values.x2)]).map((g) => g.dataSync().slice() as Float32Array);
    sequence.dispose();
    return found;
  });
}

test("second derivatives in store and checkpoint are those of the function whose grid is passed straight through", () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = new Random(seed);
      const draw = (): Float64Array => Float64Array.from({ length: n }, () => Math.fround(random.between(-1, 1)));
      const values = { x1: draw(), x2: draw(), c1: draw(), c2: draw(), v: draw() };
      const [stored, again] = [secondOrder(values, "store"), secondOrder(values, "checkpoint")];
      byHand(values).forEach((exact, i) => {
        // Terms of order one, a handful of roundings each.
        expectClose(stored[i]!, { exact, scale: 2, dtype: "f32" }, `by input ${i}`);
        expectBitEqual(again[i]!, stored[i]!, `checkpoint: by input ${i}`);
      });
    }),
    runs(30),
  );
});
