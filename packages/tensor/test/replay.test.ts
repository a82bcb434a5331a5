import { errorText, expectBitEqual, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkpoint, defineFunction, expectNoLeak, full, ones, type Tensor, tensor } from "../src/index.ts";
import { newEngine } from "./engine.fixture.ts";

const engine = newEngine();

describe("a remembered value", () => {
  /** Adds a number that is another one at every call. */
  const moody =
    (calls: number[]) =>
    (x: Tensor): Tensor => {
      const chosen = engine.remember(() => full([], calls.push(calls.length) / 8, { engine }));
      return x.mul(chosen).sin();
    };

  test("is made once in a checkpoint, and the gradient is that of the first run", () => {
    const run = (wrap: (f: (x: Tensor) => Tensor, x: Tensor) => Tensor): [readonly number[], ArrayLike<number>] => {
      const calls: number[] = [];
      const x = ones([3], { engine }).requireGrad();
      engine.scope(() =>
        wrap(moody(calls), wrap(moody(calls), x))
          .sum()
          .backward(),
      );
      const gradient = x.grad!.dataSync();
      x.dispose();
      return [calls, gradient];
    };
    const [, stored] = run((f, x) => f(x));
    const once = run((f, x) => checkpoint((y) => f(y), x));
    const nested = run((f, x) => checkpoint((y) => checkpoint((z) => f(f(z)), y), x));
    const plain = run((f, x) => f(f(x)));
    expect(once[0]).toEqual([0, 1]);
    expectBitEqual(once[1] as Float32Array, stored as Float32Array);
    expect(nested[0]).toEqual([0, 1, 2, 3]);
    expectBitEqual(nested[1] as Float32Array, plain[1] as Float32Array);
  });

  test("leaves nothing behind, with and without backward or a graph", () => {
    for (const isRecorded of [true, false]) {
      for (const goesBack of [true, false]) {
        expectNoLeak(engine, () => {
          const x = ones([3], { engine }).requireGrad(isRecorded);
          engine.scope(() => {
            const loss = checkpoint(moody([]), x).sum();
            if (isRecorded && goesBack) loss.backward();
          });
          x.dispose();
        });
      }
    }
  });

  test("is no part of the graph", () => {
    const x = ones([2], { engine }).requireGrad();
    engine.scope(() => {
      expect(engine.remember(() => x.mul(2)).requiresGrad).toBe(false);
    });
    x.dispose();
  });

  test("that only the second run asks for is an error", () => {
    let runs = 0;
    const f = (x: Tensor): Tensor => (runs++ === 0 ? x.sin() : x.mul(engine.remember(() => full([], 2, { engine }))));
    const x = ones([2], { engine }).requireGrad();
    engine.scope(() => {
      const loss = checkpoint(f, x).sum();
      expect(errorText(() => loss.backward())).toMatchInlineSnapshot(`
        "AutogradError: checkpoint: its second run asks for remembered value 1, the first run left 0
          hint: make the same calls of engine.remember in every run: what decides about them must be deterministic"
      `);
    });
    x.dispose();
  });

  test("that was modified in between is an error", () => {
    const table = full([], 2, { engine });
    const x = ones([2], { engine }).requireGrad();
    engine.scope(() => {
      const loss = checkpoint((y) => y.mul(engine.remember(() => table)), x).sum();
      table.assign(full([], 3, { engine }));
      expect(errorText(() => loss.backward())).toContain("was modified in place after it was saved");
    });
    x.dispose();
    table.dispose();
  });
});

test("code that runs again knows it", () => {
  const seen: boolean[] = [];
  const f = (x: Tensor): Tensor => {
    seen.push(engine.isReplay);
    return x.sin();
  };
  const x = ones([2], { engine }).requireGrad();
  engine.scope(() =>
    checkpoint((y) => checkpoint(f, y), x)
      .sum()
      .backward(),
  );
  // The first run; the inner checkpoint's forward in the outer's second run; the inner's own second run.
  expect(seen).toEqual([false, true, true]);
  expect(engine.isReplay).toBe(false);
  x.dispose();
});

describe("a custom function", () => {
  const masked = (mask: Tensor, released: () => void) =>
    defineFunction({
      name: "masked",
      forward({ save, hold, onRelease }, x) {
        save(x!);
        hold(mask);
        onRelease(released);
        return x!.mul(mask);
      },
      backward: (_, g) => [g!.mul(mask)],
    });

  test("keeps what it holds for backward, although its handle is disposed, and then lets go", () => {
    expectNoLeak(engine, () => {
      const x = ones([2], { engine }).requireGrad();
      let released = 0;
      engine.scope(() => {
        const mask = tensor([2, 3], { dtype: "f32", engine });
        const loss = masked(mask, () => released++)(x)[0]!.sum();
        mask.dispose();
        expect(released).toBe(0);
        loss.backward();
        expect(released).toBe(1);
      });
      expect([...x.grad!.dataSync()]).toEqual([2, 3]);
      expect(released).toBe(1);
      x.dispose();
    });
  });

  test("refuses what it holds once it is modified", () => {
    const [x, mask] = [ones([2], { engine }).requireGrad(), ones([2], { engine })];
    engine.scope(() => {
      const loss = masked(mask, () => {})(x)[0]!.sum();
      mask.assign(full([2], 3, { engine }));
      expect(errorText(() => loss.backward())).toContain("captured tensor");
    });
    x.dispose();
    mask.dispose();
  });

  test("lets go at once where nothing is recorded, when it throws, and when its graph is dropped", () => {
    const [x, mask] = [ones([2], { engine }), ones([2], { engine })];
    const count = (f: (released: () => void) => void): number => {
      let released = 0;
      engine.scope(() => void f(() => released++));
      return released;
    };
    expect(count((r) => masked(mask, r)(x))).toBe(1);
    const failing = (released: () => void) =>
      defineFunction({
        name: "failing",
        forward({ onRelease }) {
          onRelease(released);
          throw new Error("no");
        },
        backward: () => [],
      });
    expect(count((r) => expect(() => failing(r)(x)).toThrow("no"))).toBe(1);
    const leaf = ones([2], { engine }).requireGrad();
    expect(count((r) => masked(mask, r)(leaf))).toBe(1);
    for (const t of [x, mask, leaf]) t.dispose();
  });
});

test("the gradient of a whole multiple of a fixed-point stream is that multiple", () => {
  fc.assert(
    fc.property(fc.integer({ min: -(2 ** 20), max: 2 ** 20 }), fc.nat(), (times, seed) => {
      const random = new Random(seed);
      engine.scope(() => {
        const make = (): Tensor =>
          tensor(
            Array.from({ length: 5 }, () => random.between(-1, 1)),
            { dtype: "f32", engine },
          );
        const [x, c] = [make().requireGrad(), make()];
        x.quantise(20).mul(times).dequantise(20).mul(c).sum().backward();
        expectBitEqual(x.grad!.dataSync(), c.mul(times).dataSync());
        x.dispose();
      });
    }),
    runs(50),
  );
});
