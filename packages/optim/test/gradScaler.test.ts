import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, type Tensor, tensor } from "@revnet-zero/tensor";
import { errorText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AdamW, clipByGlobalNorm, GradScaler } from "../src/index.ts";

const engine = new Engine(new CpuBackend());

/** The scale after a run of steps, from the rule's definition. */
function ruleOf(steps: readonly boolean[], interval: number): { scale: number; skipped: number } {
  let [scale, good, skipped] = [2 ** 16, 0, 0];
  for (const areFinite of steps) {
    good = areFinite ? good + 1 : 0;
    if (!areFinite) {
      scale /= 2;
      skipped++;
    }
    if (good === interval) [scale, good] = [Math.min(2 * scale, 2 ** 60), 0];
  }
  return { scale, skipped };
}

describe("the scale", () => {
  test("halves at an overflow, doubles after so many steps without, and goes on from a saved state", () => {
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { maxLength: 60 }),
        fc.integer({ min: 1, max: 5 }),
        fc.nat(60),
        (steps, n, at) => {
          const whole = new GradScaler({ growthInterval: n });
          const before = new GradScaler({ growthInterval: n });
          const after = new GradScaler({ growthInterval: n });
          steps.forEach((s, i) => {
            whole.update(s);
            if (i < at) before.update(s);
          });
          after.loadStateDict(JSON.parse(JSON.stringify(before.stateDict())));
          for (const s of steps.slice(at)) after.update(s);
          expect(after.stateDict()).toEqual(whole.stateDict());
          expect({ scale: whole.scale, skipped: whole.skippedSteps }).toEqual(ruleOf(steps, n));
        },
      ),
      runs(200),
    );
  });

  test("is a power of two, or it would round", () => {
    expect(errorText(() => new GradScaler({ initialScale: 1000 }))).toMatchInlineSnapshot(`
      "ValueError: GradScaler: initialScale is 1000
        hint: use a power of two: scaling by others rounds"
    `);
    expect(() => new GradScaler({ backoffFactor: 0.3 })).toThrow("backoffFactor is 0.3");
    expect(() => new GradScaler({ growthFactor: 0.5 })).toThrow("growthFactor is 0.5");
    expect(() => new GradScaler({ growthInterval: 0 })).toThrow("growthInterval is 0");
    expect(() => new GradScaler().loadStateDict({ scale: 3, goodSteps: 0, skippedSteps: 0 })).toThrow("no state");
  });
});

describe("a scaled step", () => {
  /** A parameter after one step of a small network in float32, its gradient clipped. */
  const stepped = (values: readonly number[], scale: number, maxNorm: number): unknown =>
    engine.scope(() => {
      const w = tensor([...values], { engine }).requireGrad();
      const optimizer = new AdamW([w], { learningRate: 0.1 });
      w.square().sum().mul(scale).backward();
      const { norm, factor } = clipByGlobalNorm([w], maxNorm, { scale });
      optimizer.step({ gradientFactor: factor });
      const found = [Array.from(w.dataSync()), norm.itemSync()];
      optimizer.dispose();
      return found;
    });

  test("has the bits of one without a scale, norm and clipping included, where nothing leaves float32's range", () => {
    const value = fc.double({ min: -100, max: 100, noNaN: true }).map((x) => (Math.abs(x) < 1e-3 ? 1 : Math.fround(x)));
    fc.assert(
      fc.property(
        fc.array(value, { minLength: 1, maxLength: 9 }),
        fc.nat(30),
        fc.constantFrom(0.5, 1000),
        (v, e, max) => {
          expect(stepped(v, 2 ** e, max)).toEqual(stepped(v, 1, max));
        },
      ),
      runs(100),
    );
  });

  test("saves what float16 gradients would lose, and an overflow shows in norm and factor", () => {
    const gradientOf = (scale: number): [Tensor, number, number] => {
      const w = tensor([[1]], { engine }).requireGrad();
      const x = tensor([[2 ** -20]], { engine });
      // The gradient of a product of float16 operands is float16.
      engine
        .autocast("f16", () =>
          w
            .matmul(x)
            .sum()
            .mul(2 ** -10 * scale),
        )
        .backward();
      const { norm, factor } = clipByGlobalNorm([w], 1, { scale });
      return [w.grad!, norm.itemSync(), factor.itemSync()];
    };
    engine.scope(() => {
      expect(gradientOf(1)[1]).toBe(0);
      expect(gradientOf(2 ** 12)[1]).toBe(2 ** -30);
      const [, norm, factor] = gradientOf(2 ** 60);
      expect([Number.isFinite(norm), factor]).toEqual([false, Number.NaN]);
    });
  });
});
