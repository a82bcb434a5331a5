import { errorText, expectBitEqual } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AutogradError, dispatch, ops, type Tensor, tensor } from "../src/index.ts";
import { leaf, newEngine, random, valuesOf } from "./engine.fixture.ts";

describe("backward", () => {
  test("x³ written as x·x·x has the gradient 3x²", () => {
    // Once, the running total of x's gradient was written over while one of its terms was still to be read.
    const engine = newEngine();
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 5 }), (values) => {
        engine.scope(() => {
          for (const cube of [
            (x: Tensor) => x.mul(x).mul(x),
            (x: Tensor) => x.mul(x.mul(x)),
            (x: Tensor) => x.pow(3),
          ]) {
            const x = leaf(engine, values, "f64");
            cube(x).sum().backward();
            for (const [i, g] of valuesOf(x.grad).entries()) expect(g).toBeCloseTo(3 * values[i]! ** 2, 8);
          }
        });
      }),
    );
    expect(engine.liveTensors).toBe(0);
  });

  test("adds to the gradients that are there, in the order of the passes", () => {
    const engine = newEngine();
    const x = leaf(engine, [1, 2]);
    x.mul(3).sum().backward();
    x.square().sum().backward();
    expect(valuesOf(x.grad)).toEqual([5, 7]);
  });

  test("a gradient has bytes of its own: not those of an activation, nor of another leaf", () => {
    const engine = newEngine();
    const [x, y] = [leaf(engine, [1, 2]), leaf(engine, [3, 4])];
    const g = tensor([10, 20], { engine });
    x.add(y).backward({ gradient: g });
    expect(x.grad!.storage).not.toBe(y.grad!.storage);
    x.add(y).backward({ gradient: g });
    expect(valuesOf(x.grad)).toEqual([20, 40]);
    expect(valuesOf(y.grad)).toEqual([20, 40]);
    expect(valuesOf(g)).toEqual([10, 20]);
  });

  test("broadcast operands receive the sum over what they were repeated over", () => {
    const engine = newEngine();
    const [x, b, s] = [
      leaf(engine, [
        [1, 2, 3],
        [4, 5, 6],
      ]),
      leaf(engine, [1, 1, 1]),
      leaf(engine, 2),
    ];
    x.add(b).mul(s).sum().backward();
    expect(valuesOf(b.grad)).toEqual([4, 4, 4]);
    expect(b.grad!.shape).toEqual([3]);
    expect(valuesOf(s.grad)).toEqual([27]);
    expect(s.grad!.shape).toEqual([]);
  });

  test("only what leads to a leaf is differentiated, and only leaves keep gradients", () => {
    const engine = newEngine();
    const x = leaf(engine, [1, 2]);
    const constant = tensor([5, 6], { engine });
    const middle = x.mul(constant);
    middle.sum().backward();
    expect(valuesOf(x.grad)).toEqual([5, 6]);
    expect(constant.grad).toBeUndefined();
    expect(middle.grad).toBeUndefined();
  });

  test("a leaf that was disposed receives nothing, and nothing leaks", () => {
    const engine = newEngine();
    const [x, y] = [leaf(engine, [1, 2]), leaf(engine, [3, 4])];
    const loss = engine.scope(() => x.mul(y).sum());
    x.dispose();
    loss.backward();
    expect(valuesOf(y.grad)).toEqual([1, 2]);
    loss.dispose();
    y.dispose();
    expect(engine.memory()).toMatchObject({ liveBytes: 0, liveBuffers: 0 });
    expect(engine.liveTensors).toBe(0);
  });

  test("detach and noGrad cut the graph", () => {
    const engine = newEngine();
    const x = leaf(engine, [1, 2]);
    expect(x.detach().mul(2).requiresGrad).toBe(false);
    expect(engine.noGrad(() => x.mul(2)).requiresGrad).toBe(false);
    x.mul(x.detach()).sum().backward();
    expect(valuesOf(x.grad)).toEqual([1, 2]);
  });

  test("integers carry no gradient, except as fixed-point streams", () => {
    const engine = newEngine();
    const x = leaf(engine, [0.25, -1.5]);
    expect(x.cast("i32").requiresGrad).toBe(false);
    expect(x.greater(0).requiresGrad).toBe(false);
    const stream = x.quantise(20);
    stream
      .add(stream.detach())
      .dequantise(20)
      .mul(tensor([2, 3], { engine }))
      .sum()
      .backward();
    expect(valuesOf(x.grad)).toEqual([2, 3]);
  });

  test("the same program twice gives the same bits", () => {
    const once = (): Float32Array => {
      const engine = newEngine();
      const w = random(engine, 1, [6, 6]).requireGrad();
      engine.scope(() =>
        random(engine, 2, [5, 6]).matmul(w).gelu().matmul(w.transpose()).softmax().square().sum().backward(),
      );
      return w.grad!.dataSync() as Float32Array;
    };
    expectBitEqual(once(), once());
  });
});

describe("a second backward", () => {
  test("over a freed graph says how to keep it", () => {
    const engine = newEngine();
    const x = leaf(engine, [1, 2]);
    const y = x.square().sum();
    y.backward();
    expect(errorText(() => y.backward())).toMatchInlineSnapshot(`
      "AutogradError: backward: the values that square saved were freed by an earlier backward pass
        hint: pass { retainGraph: true } to the first backward, or compute the loss again"
    `);
  });

  test("over a retained graph adds the same again", () => {
    const engine = newEngine();
    const x = leaf(engine, [1, 2]);
    const y = x.exp().square().sum();
    y.backward({ retainGraph: true });
    const once = valuesOf(x.grad);
    y.backward();
    expect(valuesOf(x.grad)).toEqual(once.map((v) => 2 * v));
  });

  test("of two losses that share a part needs the part retained", () => {
    const engine = newEngine();
    const x = leaf(engine, [1, 2]);
    const shared = x.exp();
    const [a, b] = [shared.sum(), shared.mul(2).sum()];
    a.backward({ retainGraph: true });
    b.backward();
    expect(valuesOf(x.grad)[0]).toBeCloseTo(3 * Math.E, 5);
    expect(() => a.backward()).toThrow("freed by an earlier backward pass");
  });
});

describe("in-place changes between forward and backward", () => {
  test("of a saved tensor are an error, not a wrong gradient", () => {
    const engine = newEngine();
    const x = leaf(engine, [1, 2]);
    const y = x.square().sum();
    engine.noGrad(() => x.assign(tensor([3, 4], { engine })));
    expect(errorText(() => y.backward())).toMatchInlineSnapshot(`
      "AutogradError: backward: a tensor that square saved was modified in place after it was saved (version 0, now 1)
        hint: run optimizer steps and other in-place updates after backward, or clone the tensor first"
    `);
  });

  test("of a tensor that nobody saved do no harm", () => {
    const engine = newEngine();
    const x = leaf(engine, [1, 2]);
    const y = x.mul(3).sum();
    engine.noGrad(() => x.assign(tensor([3, 4], { engine })));
    y.backward();
    expect(valuesOf(x.grad)).toEqual([3, 3]);
  });

  test("by an optimizer step are noticed as well", () => {
    const engine = newEngine();
    const w = leaf(engine, [1, 2]);
    const y = w.square().sum();
    const attrs = { beta1: 0.9, beta2: 0.9, eps: 1e-8, weightDecay: 0 };
    const state = [
      tensor(1, { engine }),
      tensor([0.1, 0.1, 0.1], { engine }),
      w,
      w.onesLike(),
      w.zerosLike(),
      w.zerosLike(),
    ];
    engine.noGrad(() => dispatch(engine, ops.adamw, state, attrs));
    expect(() => y.backward()).toThrow("modified in place after it was saved");
  });

  test("cannot be made into a view", () => {
    const engine = newEngine();
    const x = random(engine, 1, [2, 3]);
    expect(errorText(() => x.transpose().assign(random(engine, 2, [3, 2])))).toMatchInlineSnapshot(`
      "LifetimeError: assign: cannot write in place into a view (input 0)
        hint: update the tensor that owns the buffer"
    `);
  });
});

describe("what backward refuses, and the way out", () => {
  test.each<[string, (x: Tensor) => void, string]>([
    ["an output that is no scalar", (x) => x.mul(2).backward(), "reduce it with sum() or mean(), or pass { gradient }"],
    ["a constant", (x) => x.detach().sum().backward(), "call requireGrad() on the inputs"],
    [
      "a cotangent of another shape",
      (x) => x.mul(2).backward({ gradient: x.sum() }),
      "gradient [] f32 does not match output [2] f32",
    ],
    ["a leaf of a type without gradient", (x) => x.detach().cast("bool").requireGrad(), 'x.cast("f32")'],
    [
      "a computed tensor that shall be no leaf",
      (x) => x.mul(2).requireGrad(false),
      "use detach() on a computed tensor",
    ],
  ])("%s", (_, f, message) => {
    const x = leaf(newEngine(), [1, 2]);
    expect(() => f(x)).toThrow(AutogradError);
    expect(errorText(() => f(x))).toContain(message);
  });
});

describe("a running total", () => {
  test("is written in place where nobody else holds it: no second buffer", () => {
    const engine = newEngine();
    const x = random(engine, 1, [1000]).requireGrad();
    engine.scope(() => {
      let loss = x.mul(1).sum();
      for (let i = 2; i < 20; i++) loss = loss.add(x.mul(i).sum());
      engine.ledger.resetPeak();
      const before = engine.memory().liveBytes;
      loss.backward();
      // The total, one expanded scalar's product, and the scalars.
      expect(engine.memory().peakBytes - before).toBeLessThan(2.5 * 4000);
    });
    expect(valuesOf(x.grad)[0]).toBe((19 * 20) / 2);
  });

  test("given up by its caller is reused; shared, viewed or of another type it is not", () => {
    const engine = newEngine();
    const y = tensor([10, 20], { engine });
    const alone = tensor([1, 2], { engine });
    const reused = alone.addDonating(y);
    expect(reused.storage).toBe(alone.storage);
    expect(valuesOf(reused)).toEqual([11, 22]);
    const shared = tensor([1, 2], { engine });
    const view = shared.detach();
    const fresh = shared.addDonating(y);
    expect(fresh.storage).not.toBe(shared.storage);
    expect(valuesOf(view)).toEqual([1, 2]);
    const small = tensor([1], { engine });
    expect(small.addDonating(y).storage).not.toBe(small.storage);
    const turned = engine.scope(() => random(engine, 3, [2, 2]).transpose());
    expect(turned.addDonating(y).storage).not.toBe(turned.storage);
  });

  test("a donated buffer that a node has saved is left alone", () => {
    const engine = newEngine();
    const x = leaf(engine, [1, 2]);
    const e = x.exp();
    const before = valuesOf(e);
    const sum = engine.noGrad(() => e.addDonating(tensor([1, 1], { engine })));
    expect(sum.storage).not.toBe(e.storage);
    e.sum().backward();
    expect(valuesOf(x.grad)).toEqual(before);
  });
});
