import { expectBitEqual, gradcheck, gradgradcheck, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Engine, grad, jvp, type Tensor, tensor, vjp } from "../src/index.ts";
import { newEngine, random, valuesOf } from "./engine.fixture.ts";
import { type Program, programs, run, shape, steps, within } from "./programs.ts";

const inputsOf = (engine: Engine, { inputs }: Program, seed: number): Tensor[] =>
  Array.from({ length: inputs }, (_, i) => random(engine, 10 * seed + i, shape, "f64"));

const dot = (a: readonly number[], b: readonly number[]): { sum: number; size: number } =>
  a.reduce(({ sum, size }, x, i) => ({ sum: sum + x * b[i]!, size: size + Math.abs(x * b[i]!) }), { sum: 0, size: 0 });

const seeds = fc.nat({ max: 1000 });

describe("each step alone has the gradient and second gradient that differences give", () => {
  test.each(Object.keys(steps) as (keyof typeof steps)[])("%s", async (name) => {
    const engine = newEngine();
    const xs = [random(engine, 1, shape, "f64"), random(engine, 2, shape, "f64")];
    await gradcheck(steps[name], xs);
    await gradgradcheck(steps[name], xs, { elements: 4 });
  });
});

describe("a random program", () => {
  test("has the gradient that differences give", async () => {
    const engine = newEngine();
    await fc.assert(
      fc.asyncProperty(programs, seeds, (program, seed) =>
        within(engine, () => gradcheck(run(program), inputsOf(engine, program, seed), { elements: 4, seed })),
      ),
      runs(60),
    );
    expect(engine.liveTensors).toBe(0);
  });

  test("has the second gradient that differences of the first give", async () => {
    const engine = newEngine();
    await fc.assert(
      fc.asyncProperty(programs, seeds, (program, seed) =>
        within(engine, () => gradgradcheck(run(program), inputsOf(engine, program, seed), { elements: 2, seed })),
      ),
      runs(25),
    );
    expect(engine.liveTensors).toBe(0);
  });

  test("has a jvp that is the transpose of its vjp: ⟨u, Jv⟩ = ⟨Jᵀu, v⟩", () => {
    const engine = newEngine();
    fc.assert(
      fc.property(programs, seeds, (program, seed) => {
        engine.scope(() => {
          const xs = inputsOf(engine, program, seed);
          const vs = inputsOf(engine, program, seed + 5000);
          const u = random(engine, seed + 9000, shape, "f64");
          const f = run(program);
          const { tangent } = jvp(f, xs, vs);
          const pulled = vjp(f, xs).pullback(u);
          const pushed = dot(valuesOf(u), valuesOf(tangent));
          const back = pulled.map((g, i) => dot(valuesOf(g), valuesOf(vs[i])));
          const size = back.reduce((n, b) => n + b.size, pushed.size);
          expect(Math.abs(pushed.sum - back.reduce((n, b) => n + b.sum, 0))).toBeLessThanOrEqual(1e-12 * (1 + size));
        });
      }),
      runs(60),
    );
    expect(engine.liveTensors).toBe(0);
  });

  test("has a jvp that is the derivative along a direction", () => {
    const engine = newEngine();
    fc.assert(
      fc.property(programs, seeds, (program, seed) => {
        engine.scope(() => {
          const xs = inputsOf(engine, program, seed);
          const vs = inputsOf(engine, program, seed + 5000);
          const f = run(program);
          const { value, tangent } = jvp(f, xs, vs);
          expectBitEqual(value.dataSync(), f(...xs).dataSync());
          const at = (s: number): Tensor => f(...xs.map((x, i) => x.add(vs[i]!.mul(s))));
          const difference = (h: number): Tensor =>
            at(h)
              .sub(at(-h))
              .div(2 * h);
          // Extrapolated: the error of each is of order h², and their distance bounds it.
          const [coarse, fine] = [difference(2e-4), difference(1e-4)].map((t) => valuesOf(t)) as [number[], number[]];
          for (const [i, t] of valuesOf(tangent).entries()) {
            const numeric = (4 * fine[i]! - coarse[i]!) / 3;
            const limit = 4 * Math.abs(fine[i]! - coarse[i]!) + 1e-9 * (1 + Math.abs(t));
            expect(Math.abs(t - numeric)).toBeLessThanOrEqual(limit);
          }
        });
      }),
      runs(60),
    );
    expect(engine.liveTensors).toBe(0);
  });

  test("is linear in the direction and in the cotangent", () => {
    const engine = newEngine();
    fc.assert(
      fc.property(programs, seeds, (program, seed) => {
        engine.scope(() => {
          const xs = inputsOf(engine, program, seed);
          const [vs, ws] = [inputsOf(engine, program, seed + 1), inputsOf(engine, program, seed + 2)];
          const f = run(program);
          const along = (d: Tensor[]): number[] => valuesOf(jvp(f, xs, d).tangent);
          const [jv, jw] = [along(vs), along(ws)];
          const both = along(vs.map((v, i) => v.mul(2).sub(ws[i]!)));
          for (const [i, b] of both.entries()) {
            const size = 1 + 2 * Math.abs(jv[i]!) + Math.abs(jw[i]!);
            expect(Math.abs(b - (2 * jv[i]! - jw[i]!))).toBeLessThanOrEqual(1e-11 * size);
          }
        });
      }),
      runs(30),
    );
  });

  test("has the same gradient bits by grad, by vjp and by backward", () => {
    const engine = newEngine();
    fc.assert(
      fc.property(programs, seeds, (program, seed) => {
        engine.scope(() => {
          const xs = inputsOf(engine, program, seed);
          const f = (...t: Tensor[]): Tensor => run(program)(...t).sum();
          const leaves = xs.map((x) => x.detach().requireGrad());
          const loss = f(...leaves);
          if (loss.requiresGrad) loss.backward();
          const viaGrad = grad(f, xs);
          const viaVjp = vjp(f, xs).pullback(tensor(1, { engine, dtype: "f64" }));
          for (const [i, leaf] of leaves.entries()) {
            const own = (leaf.grad ?? leaf.zerosLike()).dataSync();
            expectBitEqual(viaGrad[i]!.dataSync(), own);
            expectBitEqual(viaVjp[i]!.dataSync(), own);
          }
        });
      }),
      runs(40),
    );
  });
});
