import { CpuBackend } from "@revnet-zero/backend-cpu";
import { MetaBackend } from "@revnet-zero/backend-meta";
import { Engine, expectNoLeak, type Tensor, tensor } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { clipByGlobalNorm, SGD } from "../src/index.ts";

const engine = new Engine(new CpuBackend());

function parameters(gradients: readonly (readonly number[])[], on: Engine = engine): Tensor[] {
  return gradients.map((g) => {
    const p = tensor(
      g.map(() => 0),
      { engine: on },
    ).requireGrad();
    p.grad = on.keep(tensor([...g], { engine: on }));
    return p;
  });
}

const values = fc.array(fc.array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 1, maxLength: 6 }), {
  minLength: 1,
  maxLength: 4,
});

test("the norm is that of all gradients together; a clipped step is no longer than the limit", () => {
  fc.assert(
    fc.property(values, fc.double({ min: 0.01, max: 1000, noNaN: true }), (gradients, maxNorm) => {
      engine.scope(() => {
        const ps = parameters(gradients);
        const exact = Math.hypot(...gradients.flat());
        const { norm, factor } = expectNoLeakIn(() => clipByGlobalNorm(ps, maxNorm));
        expect(Math.abs(norm.itemSync() - exact)).toBeLessThanOrEqual(2 ** -22 * exact + 2 ** -149);
        const wanted = Math.min(1, maxNorm / (exact + 1e-6));
        expect(Math.abs(factor.itemSync() - wanted)).toBeLessThanOrEqual(2 ** -21 * wanted);
        new SGD(ps, { learningRate: 1 }).step({ gradientFactor: factor });
        const moved = Math.hypot(...ps.flatMap((p) => Array.from(p.dataSync())));
        expect(moved).toBeLessThanOrEqual(maxNorm * (1 + 2 ** -20));
        if (exact < maxNorm * 0.999 - 1e-6) expect(factor.itemSync()).toBe(1);
      });
    }),
    runs(100),
  );
});

/** Two scalars come out, and nothing else stays. */
function expectNoLeakIn<T extends object>(f: () => T): T {
  const before = engine.liveTensors;
  const result = f();
  expect(engine.liveTensors - before).toBe(2);
  return result;
}

test("a norm that is no number is seen in norm and factor both", () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    engine.scope(() => {
      const { norm, factor } = clipByGlobalNorm(parameters([[1, 2], [bad]]), 1);
      expect(Number.isFinite(norm.itemSync())).toBe(false);
      expect(factor.itemSync()).toBe(Number.NaN);
    });
  }
});

test("huge gradients do not overflow the norm's squares", () => {
  engine.scope(() => {
    const { norm, factor } = clipByGlobalNorm(parameters([[3e30], [4e30]]), 1);
    expect(norm.itemSync() / 5e30).toBeCloseTo(1, 6);
    expect(factor.itemSync() * 5e30).toBeCloseTo(1, 5);
  });
});

test("gradients of zeros have norm 0 and factor 1", () => {
  engine.scope(() => {
    const { norm, factor } = clipByGlobalNorm(parameters([[0, 0]]), 1);
    expect([norm.itemSync(), factor.itemSync()]).toEqual([0, 1]);
  });
});

test("parameters without gradients are passed over; none at all is an error", () => {
  engine.scope(() => {
    const [a, b] = parameters([[3], [4]]) as [Tensor, Tensor];
    b.grad = undefined;
    expect(clipByGlobalNorm([a, b], 1).norm.itemSync()).toBe(3);
    a.grad = undefined;
    expect(() => clipByGlobalNorm([a, b], 1)).toThrow(
      "no parameter has a gradient\n  hint: call loss.backward() first",
    );
    expect(() => clipByGlobalNorm([a, b], 0)).toThrow("maxNorm is 0");
  });
});

test("nothing is read back: it runs on the shape-only backend", () => {
  const meta = new Engine(new MetaBackend());
  const ps = parameters([[1], [2]], meta);
  const { factor } = clipByGlobalNorm(ps, 1);
  expectNoLeak(meta, () => new SGD(ps).step({ gradientFactor: factor }));
});
