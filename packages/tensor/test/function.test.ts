import { errorText, expectBitEqual, gradcheck } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { type BackwardContext, defineFunction, grad, type Tensor, tensor } from "../src/index.ts";
import { leaf, newEngine, random, valuesOf } from "./engine.fixture.ts";

/** sin and cos together, from one saved input. */
const sinCos = defineFunction({
  name: "sinCos",
  forward(context, x) {
    context.save(x!);
    return [x!.sin(), x!.cos()];
  },
  backward(context, gs, gc) {
    const [x] = context.saved() as [Tensor];
    const terms = [gs?.mul(x.cos()), gc?.mul(x.sin()).neg()].filter((t) => t !== undefined);
    return [terms.reduce((a, b) => a.add(b))];
  },
});

/** Any function, its activations rebuilt in backward: how reversible blocks use the engine. */
const recomputed = (f: (...xs: Tensor[]) => Tensor) =>
  defineFunction({
    name: "recomputed",
    isTwiceDifferentiable: true,
    forward(context, ...xs) {
      context.save(...xs);
      return f(...xs);
    },
    backward(context, g) {
      const xs = context.takeSaved().map((x, i) => context.asInput(x, i));
      context.backward([context.recompute(() => f(...xs))], [g]);
      return [];
    },
  });

describe("defineFunction", () => {
  test("several outputs, used alone and together", async () => {
    const engine = newEngine();
    const x = random(engine, 1, [3], "f64");
    await gradcheck((t) => sinCos(t), [x]);
    await gradcheck((t) => sinCos(t)[1]!, [x]);
    await gradcheck(
      (t) => {
        const [s, c] = sinCos(t) as [Tensor, Tensor];
        return s.mul(c).add(c);
      },
      [x],
    );
    x.dispose();
    expect(engine.liveTensors).toBe(0);
  });

  test("parameters that the closure captures receive gradients", () => {
    const engine = newEngine();
    const [w, b] = [leaf(engine, [2, 3]), leaf(engine, [1, 1])];
    const x = leaf(engine, [5, 7]);
    const f = recomputed((t) => t!.mul(w).add(b).square());
    const [y] = f(x) as [Tensor];
    y.sum().backward();
    // d/dw (wx + b)² = 2 (wx + b) x
    expect(valuesOf(w.grad)).toEqual([2 * 11 * 5, 2 * 22 * 7]);
    expect(valuesOf(b.grad)).toEqual([22, 44]);
    expect(valuesOf(x.grad)).toEqual([44, 132]);
  });

  test("captured parameters receive gradients when no input needs one", () => {
    const engine = newEngine();
    const w = leaf(engine, [2]);
    const [y] = recomputed((t) => t!.mul(w))(tensor([5], { engine })) as [Tensor];
    expect(y.requiresGrad).toBe(true);
    y.sum().backward();
    expect(valuesOf(w.grad)).toEqual([5]);
  });

  test("a captured parameter passed on to a function inside is captured by the outer one too", () => {
    const engine = newEngine();
    const w = leaf(engine, [2]);
    const inner = recomputed((x, p) => x!.mul(p!));
    const outer = recomputed((x) => inner(x!, w)[0]!);
    const [y] = outer(tensor([5], { engine })) as [Tensor];
    expect(y.requiresGrad).toBe(true);
    expect(
      valuesOf(grad((p) => recomputed((x) => inner(x!, p)[0]!)(tensor([5], { engine }))[0]!.sum(), [w])[0]),
    ).toEqual([5]);
    y.sum().backward();
    expect(valuesOf(w.grad)).toEqual([5]);
  });

  test("a captured tensor whose handle is gone by then passes its gradient on", () => {
    const engine = newEngine();
    const w = leaf(engine, [0.5, -0.3]);
    const gradient = (call: (memory: Tensor) => Tensor): ArrayLike<number> => {
      engine.scope(() => {
        // What a module returns outlives it; what it computed on the way, an encoder's output, does not.
        const y = engine.scope(() => call(w.mul(2).tanh()));
        y.sum().backward();
      });
      const found = valuesOf(w.grad!);
      w.grad!.dispose();
      w.grad = undefined;
      return found;
    };
    const x = random(engine, 3, [2]);
    const wanted = gradient((memory) => x.mul(memory).sin());
    expect(gradient((memory) => recomputed((input) => input.mul(memory).sin())(x)[0]!)).toEqual(wanted);
  });

  test("nests, and gives the same bits as the plain computation", () => {
    const engine = newEngine();
    const run = (wrap: (f: (...xs: Tensor[]) => Tensor) => (...xs: Tensor[]) => Tensor[]): Float32Array[] => {
      const w = random(engine, 1, [4, 4]).requireGrad();
      const x = random(engine, 2, [3, 4]).requireGrad();
      const layer = (t: Tensor): Tensor => t.matmul(w).tanh();
      engine.scope(() => {
        const deep = wrap((t) => wrap((u) => layer(layer(u!)))(layer(t!))[0]!.add(t!))(x)[0]!;
        deep.mul(layer(x)).sum().backward();
      });
      return [w, x].map((t) => t.grad!.dataSync() as Float32Array);
    };
    const plain = run((f) => (...xs) => [f(...xs)]);
    const nested = run(recomputed);
    plain.forEach((g, i) => {
      expectBitEqual(nested[i]!, g);
    });
  });

  test("outputs that are inputs, and inputs given twice", () => {
    const engine = newEngine();
    const x = leaf(engine, [1, 2]);
    const [same] = recomputed((t) => t!)(x) as [Tensor];
    same.mul(3).sum().backward();
    expect(valuesOf(x.grad)).toEqual([3, 3]);
    const [product] = recomputed((a, b) => a!.mul(b!))(x, x) as [Tensor];
    product.sum().backward();
    expect(valuesOf(x.grad)).toEqual([3 + 2, 3 + 4]);
  });

  test("without anything to differentiate nothing is recorded or saved", () => {
    const engine = newEngine();
    const x = tensor([1], { engine });
    const [y] = sinCos(x) as [Tensor];
    expect(y.requiresGrad).toBe(false);
    expect(engine.memory().live.saved).toBe(0);
    expect(engine.liveTensors).toBe(3);
  });

  test("taken saved tensors are free when the caller disposes them, while the pass goes on", () => {
    const engine = newEngine();
    const size = 1000;
    let liveInside = 0;
    const f = defineFunction({
      name: "taker",
      forward(context, x) {
        context.save(x!.mul(2), x!.mul(3));
        return x!.mul(1);
      },
      backward(context: BackwardContext, g) {
        const before = engine.memory().liveBytes;
        for (const t of context.takeSaved()) t.dispose();
        liveInside = before - engine.memory().liveBytes;
        return [g];
      },
    });
    const x = random(engine, 1, [size]).requireGrad();
    engine.scope(() => f(x)[0]!.sum().backward());
    expect(liveInside).toBe(2 * size * 4);
    x.dispose();
    expect(engine.memory().liveBytes).toBe(0);
  });

  test("takeSaved under retainGraph leaves the saved tensors for the next pass", () => {
    const engine = newEngine();
    const x = leaf(engine, [2]);
    const [y] = recomputed((t) => t!.square())(x) as [Tensor];
    y.sum().backward({ retainGraph: true });
    y.sum().backward();
    expect(valuesOf(x.grad)).toEqual([8]);
    expect(() => y.sum().backward()).toThrow("freed by an earlier backward pass");
  });

  test("backward sees the ambient state of forward", () => {
    const engine = newEngine();
    const seen: unknown[] = [];
    const f = recomputed((t) => {
      seen.push(engine.ambient.autocast, engine.nextKey("test"));
      return t!.mul(2);
    });
    const x = leaf(engine, [1]);
    const [y] = engine.autocast("bf16", () => engine.withKey([1, 2], () => f(x))) as [Tensor];
    y.sum().backward();
    expect(seen.slice(2)).toEqual(seen.slice(0, 2));
    expect(engine.ambient.autocast).toBeUndefined();
  });

  test("a leaf of its own inside backward is served by context.backward, not by .grad", () => {
    const engine = newEngine();
    const f = defineFunction({
      name: "inner leaves",
      forward(context, x) {
        context.save(x!);
        return x!.square();
      },
      backward(context, g) {
        const [saved] = context.saved() as [Tensor];
        const own = saved.detach().requireGrad();
        const y = context.recompute(() => own.square());
        return context.backward([y], [g], [own]);
      },
    });
    const x = leaf(engine, [3]);
    f(x)[0]!.sum().backward();
    expect(valuesOf(x.grad)).toEqual([6]);
  });
});

describe("what a custom function refuses", () => {
  test("a captured tensor modified in place before backward", () => {
    const engine = newEngine();
    const w = leaf(engine, [2]);
    w.name = "head.weight";
    const [y] = recomputed((t) => t!.mul(w))(leaf(engine, [5])) as [Tensor];
    engine.noGrad(() => w.assign(tensor([9], { engine })));
    expect(errorText(() => y.sum().backward())).toMatchInlineSnapshot(`
      "AutogradError: recomputed: captured tensor head.weight was modified in place between forward and backward
        hint: step the optimizer only after backward"
    `);
  });

  test("a second derivative it did not promise", () => {
    const engine = newEngine();
    const x = leaf(engine, [1]);
    expect(errorText(() => sinCos(x)[0]!.sum().backward({ createGraph: true }))).toMatchInlineSnapshot(`
      "AutogradError: sinCos: has no second derivative: its backward pass rebuilds activations and cannot be recorded
        hint: use the stored form (reversible modules: mode "store") where second derivatives are needed"
    `);
  });

  test("no inputs", () => {
    expect(() => sinCos()).toThrow("needs at least one input tensor");
  });
});
