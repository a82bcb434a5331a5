import { errorText, gradcheck, gradgradcheck } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkpoint, grad, jvp, type Tensor, tensor, valueAndGrad, vjp } from "../src/index.ts";
import { leaf, newEngine, random, valuesOf } from "./engine.fixture.ts";

const close = (actual: readonly number[], expected: readonly number[]): void => {
  expect(actual).toHaveLength(expected.length);
  for (const [i, v] of actual.entries()) expect(v).toBeCloseTo(expected[i]!, 9);
};

describe("grad", () => {
  test("is the derivative of a scalar function by every input, and touches no .grad", () => {
    const engine = newEngine();
    const [a, b] = [tensor([2, 3], { engine, dtype: "f64" }), tensor([5, 7], { engine, dtype: "f64" })];
    const [ga, gb] = grad((x, y) => x.square().mul(y).sum(), [a, b]);
    close(valuesOf(ga), [20, 42]);
    close(valuesOf(gb), [4, 9]);
    expect(a.grad).toBeUndefined();
  });

  test("nests: the fourth derivative of x⁵", () => {
    const engine = newEngine();
    const x = tensor([1.5], { engine, dtype: "f64" });
    type F = (x: Tensor) => Tensor;
    const derive =
      (f: F): F =>
      (t) =>
        grad((u) => f(u).sum(), [t])[0]!;
    let f: F = (t) => t.mul(t).mul(t).mul(t).mul(t);
    const expected = [5 * 1.5 ** 4, 20 * 1.5 ** 3, 60 * 1.5 ** 2, 120 * 1.5];
    for (const want of expected) {
      f = derive(f);
      close(valuesOf(engine.scope(() => f(x))), [want]);
    }
  });

  test("gives zeros for inputs without influence, and leaves no tensor behind", () => {
    const engine = newEngine();
    const [x, y] = [random(engine, 1, [3]), random(engine, 2, [2])];
    const before = engine.liveTensors;
    const [, gy] = grad((a, _b) => a.tanh().sum(), [x, y]);
    expect(valuesOf(gy)).toEqual([0, 0]);
    expect(engine.liveTensors).toBe(before + 2);
  });

  test("works inside noGrad, and on an input that is returned as it is", () => {
    const engine = newEngine();
    const x = tensor(3, { engine });
    expect(valuesOf(engine.noGrad(() => grad((t) => t, [x])[0]))).toEqual([1]);
  });

  test("through a closure over a leaf gives that leaf nothing", () => {
    const engine = newEngine();
    const w = leaf(engine, [2]);
    const x = tensor([3], { engine });
    expect(valuesOf(grad((t) => t.mul(w).sum(), [x])[0])).toEqual([2]);
    expect(w.grad).toBeUndefined();
  });

  test("of tracked inputs can be differentiated again", () => {
    const engine = newEngine();
    const x = leaf(engine, [2, 3], "f64");
    const [g] = grad((t) => t.mul(t).mul(t).sum(), [x]);
    g!.sum().backward();
    close(valuesOf(x.grad), [12, 18]);
  });
});

describe("valueAndGrad and vjp", () => {
  test("give the value too", () => {
    const engine = newEngine();
    const x = tensor([1, 2], { engine });
    const { value, gradients } = valueAndGrad((t) => t.square().sum(), [x]);
    expect(valuesOf(value)).toEqual([5]);
    expect(valuesOf(gradients[0])).toEqual([2, 4]);
  });

  test("vjp pulls a cotangent of any shape back", () => {
    const engine = newEngine();
    const x = tensor([1, 2], { engine });
    const { value, pullback } = vjp((t) => t.square(), [x]);
    expect(valuesOf(value)).toEqual([1, 4]);
    expect(valuesOf(pullback(tensor([10, 100], { engine }))[0])).toEqual([20, 400]);
  });

  test("refuse what has no gradient, saying why", () => {
    const engine = newEngine();
    const x = tensor([1, 2], { engine });
    expect(errorText(() => valueAndGrad((t) => t.square(), [x]))).toMatchInlineSnapshot(`
      "AutogradError: valueAndGrad: the function returned [2] f32, not a scalar
        hint: reduce it with sum() or mean(), or use vjp with a cotangent"
    `);
    expect(errorText(() => grad(() => x, []))).toMatchInlineSnapshot(
      `"AutogradError: grad: no inputs to differentiate by"`,
    );
  });
});

describe("jvp", () => {
  const programs: Record<string, (x: Tensor, y: Tensor) => Tensor> = {
    arithmetic: (x, y) => x.mul(y).add(x.exp()).div(y.square().add(1)),
    "matrix product": (x, y) => x.matmul(y.transpose()).tanh(),
    "softmax of a sum": (x, y) => x.add(y).softmax(),
    "layer norm": (x, y) => x.layerNorm(y.sum(0), y.mean(0)),
    movement: (x, y) =>
      x
        .transpose()
        .flip(0)
        .concat([y.transpose()], 1)
        .cumsum(0)
        .pad([
          [1, 0],
          [0, 2],
        ]),
    "through a checkpoint": (x, y) => checkpoint((a, b) => a.mul(b).sigmoid(), x, y),
  };

  test.each(Object.keys(programs))("%s: the derivative along a direction, as differences give it", (name) => {
    const f = programs[name]!;
    const engine = newEngine();
    fc.assert(
      fc.property(fc.nat({ max: 1000 }), (seed) => {
        engine.scope(() => {
          const [x, y, dx, dy] = [0, 1, 2, 3].map((i) => random(engine, 4 * seed + i, [2, 3], "f64")) as [
            Tensor,
            Tensor,
            Tensor,
            Tensor,
          ];
          const { value, tangent } = jvp(f, [x, y], [dx, dy]);
          const h = 1e-5;
          const at = (s: number): Tensor => f(x.add(dx.mul(s)), y.add(dy.mul(s)));
          const numeric = valuesOf(
            at(h)
              .sub(at(-h))
              .div(2 * h),
          );
          expect(valuesOf(value)).toEqual(valuesOf(f(x, y)));
          for (const [i, t] of valuesOf(tangent).entries()) {
            expect(Math.abs(t - numeric[i]!)).toBeLessThan(1e-7 * (1 + Math.abs(t)));
          }
        });
      }),
      { numRuns: 5 },
    );
    expect(engine.liveTensors).toBe(0);
  });

  test("needs as many tangents as inputs", () => {
    const x = tensor([1], { engine: newEngine() });
    expect(() => jvp((t) => t, [x], [])).toThrow("1 inputs but 0 tangents");
  });
});

test("gradients and second gradients of a whole block, against differences", async () => {
  const engine = newEngine();
  const block = (x: Tensor, w: Tensor, g: Tensor): Tensor => {
    const h = x.rmsNorm(g);
    const [q, k, v] = h.linear(w).split(3) as [Tensor, Tensor, Tensor];
    const heads = (t: Tensor): Tensor => t.reshape([1, 3, 2, 2]).permute([0, 2, 1, 3]);
    const mixed = heads(q).attention(heads(k), heads(v), { isCausal: true });
    return mixed.permute([0, 2, 1, 3]).reshape([1, 3, 4]).add(x).silu();
  };
  const inputs = [
    random(engine, 1, [1, 3, 4], "f64"),
    random(engine, 2, [12, 4], "f64"),
    random(engine, 3, [4], "f64"),
  ];
  await gradcheck(block, inputs);
  await gradgradcheck(block, inputs, { elements: 4 });
});
