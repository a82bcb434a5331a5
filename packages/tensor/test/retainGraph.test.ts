import { errorText, expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  AutogradError,
  type BackwardOptions,
  checkpoint,
  type DType,
  type Engine,
  grad,
  type HostData,
  type Tensor,
  tensor,
} from "../src/index.ts";
import { leaf, newEngine, random, valuesOf } from "./engine.fixture.ts";
import { type Program, programs, run, shape } from "./programs.ts";

const leavesOf = (engine: Engine, { inputs }: Program, seed: number, dtype: DType = "f32"): Tensor[] =>
  Array.from({ length: inputs }, (_, i) => random(engine, 10 * seed + i, shape, dtype).requireGrad());

const bits = (leaves: readonly Tensor[]): HostData[] => leaves.map((x) => (x.grad ?? x.zerosLike()).dataSync());

const seeds = fc.nat({ max: 1000 });

/** A random program's loss and leaves; programs that use no input are left out. */
function each(body: (engine: Engine, loss: Tensor, leaves: Tensor[], program: Program) => void, times: number): void {
  const engine = newEngine();
  fc.assert(
    fc.property(programs, seeds, (program, seed) => {
      engine.scope(() => {
        const leaves = leavesOf(engine, program, seed);
        const loss = engine.scope(() => run(program)(...leaves).sum());
        fc.pre(loss.requiresGrad);
        body(engine, loss, leaves, program);
      });
    }),
    runs(times),
  );
  expect(engine.liveTensors).toBe(0);
  expect(engine.memory().liveBytes).toBe(0);
}

/** The gradients of one pass alone, in the leaves; puts back what was there. */
function gradientsOf(loss: Tensor, leaves: readonly Tensor[], options: BackwardOptions): HostData[] {
  for (const x of leaves) {
    x.grad?.dispose();
    x.grad = undefined;
  }
  loss.backward(options);
  return bits(leaves);
}

describe("retainGraph", () => {
  test("gives every pass the same bits, and those of a pass that frees", () => {
    each((_, loss, leaves) => {
      const first = gradientsOf(loss, leaves, { retainGraph: true });
      const second = gradientsOf(loss, leaves, { retainGraph: true });
      const last = gradientsOf(loss, leaves, {});
      for (const [i, g] of first.entries()) {
        expectBitEqual(second[i]!, g);
        expectBitEqual(last[i]!, g);
      }
    }, 40);
  });

  test("adds to the gradients as passes over graphs made anew do", () => {
    each((_, loss, leaves, program) => {
      gradientsOf(loss, leaves, { retainGraph: true });
      loss.backward({ retainGraph: true });
      loss.backward();
      const fresh = leaves.map((x) => x.detach().requireGrad());
      for (let pass = 0; pass < 3; pass++)
        run(program)(...fresh)
          .sum()
          .backward();
      for (const [i, g] of bits(fresh).entries()) expectBitEqual(bits(leaves)[i]!, g);
    }, 40);
  });

  test("keeps exactly what was saved; without it nothing saved is left", () => {
    each((engine, loss, leaves) => {
      const before = engine.memory().live.saved;
      gradientsOf(loss, leaves, { retainGraph: true });
      expect(engine.memory().live.saved).toBe(before);
      gradientsOf(loss, leaves, {});
      expect(engine.memory().live.saved).toBe(0);
    }, 40);
  });

  test("is what a second pass needs: without it the pass is refused, or had nothing to read", () => {
    each((_, loss, leaves) => {
      const once = gradientsOf(loss, leaves, {});
      try {
        const again = gradientsOf(loss, leaves, {});
        for (const [i, g] of once.entries()) expectBitEqual(again[i]!, g);
      } catch (error) {
        if (!(error instanceof AutogradError)) throw error;
        expect(error.message).toContain("freed by an earlier backward pass");
        expect(error.hint).toBe("pass { retainGraph: true } to the first backward, or compute the loss again");
      }
    }, 40);
  });

  test("holds for checkpoints as for stored activations", () => {
    const engine = newEngine();
    const [x, w] = [random(engine, 1, [2, 3]).requireGrad(), random(engine, 2, [3, 3]).requireGrad()];
    const loss = checkpoint((t) => t.matmul(w).tanh(), x)
      .square()
      .sum();
    const first = gradientsOf(loss, [x, w], { retainGraph: true });
    const second = gradientsOf(loss, [x, w], {});
    for (const [i, g] of first.entries()) expectBitEqual(second[i]!, g);
    expect(errorText(() => loss.backward())).toContain("freed by an earlier backward pass");
  });

  test("of one loss leaves the part that it shares with another", () => {
    const engine = newEngine();
    const x = leaf(engine, [1, 2], "f64");
    const shared = x.exp();
    const [a, b] = [shared.square().sum(), shared.sin().sum()];
    a.backward({ retainGraph: true });
    b.backward();
    const expected = [1, 2].map((v) => 2 * Math.exp(v) ** 2 + Math.exp(v) * Math.cos(Math.exp(v)));
    for (const [i, g] of valuesOf(x.grad).entries()) expect(g).toBeCloseTo(expected[i]!, 10);
    expect(() => a.backward()).toThrow("freed by an earlier backward pass");
  });
});

describe("createGraph", () => {
  test("retains the graph, changes no bit of the gradient, and can be differentiated like grad of grad", () => {
    const engine = newEngine();
    fc.assert(
      fc.property(programs, seeds, (program, seed) => {
        engine.scope(() => {
          const leaves = leavesOf(engine, program, seed, "f64");
          const f = (...xs: Tensor[]): Tensor => run(program)(...xs).sum();
          const loss = f(...leaves);
          fc.pre(loss.requiresGrad);
          const plain = gradientsOf(loss, leaves, { retainGraph: true });
          const recorded = gradientsOf(loss, leaves, { createGraph: true });
          for (const [i, g] of plain.entries()) expectBitEqual(recorded[i]!, g);
          const again = gradientsOf(loss, leaves, { retainGraph: true });
          for (const [i, g] of plain.entries()) expectBitEqual(again[i]!, g);

          // Σ (∂f/∂x)² differentiated once more: by .grad, and by nested transforms.
          gradientsOf(loss, leaves, { createGraph: true });
          const penalty = leaves.flatMap((x) => (x.grad?.requiresGrad === true ? [x.grad.square().sum()] : []));
          fc.pre(penalty.length > 0);
          const total = penalty.slice(1).reduce((sum, p) => sum.add(p), penalty[0]!);
          const own = leaves.map((x) => x.grad);
          for (const x of leaves) x.grad = undefined;
          total.backward();
          const nested = grad(
            (...xs) => {
              const squares = grad(f, xs).map((g) => g.square().sum());
              return squares.slice(1).reduce((sum, p) => sum.add(p), squares[0]!);
            },
            leaves.map((x) => x.detach()),
          );
          for (const [i, x] of leaves.entries()) {
            const [got, want] = [bits([x])[0]!, nested[i]!.dataSync()];
            const size = Math.max(1, ...want.map(Math.abs));
            for (const [k, v] of got.entries()) expect(Math.abs(v - want[k]!)).toBeLessThanOrEqual(1e-11 * size);
          }
          for (const g of own) g?.dispose();
        });
      }),
      runs(25),
    );
    expect(engine.liveTensors).toBe(0);
  });
});

describe("an in-place change between forward and backward", () => {
  const noticed = (loss: Tensor, leaves: Tensor[], clean: HostData[]): void => {
    try {
      const got = gradientsOf(loss, leaves, {});
      for (const [i, g] of clean.entries()) expectBitEqual(got[i]!, g);
    } catch (error) {
      if (!(error instanceof AutogradError)) throw error;
      expect(error.message).toMatch(/modified in place/);
    }
  };

  test("of an input is an error, or changes no bit of any gradient", () => {
    each((engine, loss, leaves) => {
      const clean = gradientsOf(loss, leaves, { retainGraph: true });
      engine.noGrad(() => leaves[0]!.assign(random(engine, 77, shape)));
      noticed(loss, leaves, clean);
    }, 60);
  });

  test("of a value in between is an error, or changes no bit of any gradient", () => {
    const engine = newEngine();
    fc.assert(
      fc.property(programs, seeds, fc.nat(), (program, seed, chosen) => {
        engine.scope(() => {
          const leaves = leavesOf(engine, program, seed);
          const values: Tensor[] = [];
          const keep = (v: Tensor): Tensor => {
            values.push(v);
            return v;
          };
          const loss = run(program, keep)(...leaves).sum();
          fc.pre(loss.requiresGrad);
          const clean = gradientsOf(loss, leaves, { retainGraph: true });
          const value = values[chosen % values.length]!;
          const isView = value.layout.offset !== 0 || value.storage.bytes !== value.bytes;
          fc.pre(!isView && value.layout.strides[1] === 1);
          engine.noGrad(() => value.assign(random(engine, 77, shape)));
          noticed(loss, leaves, clean);
        });
      }),
      runs(60),
    );
  });

  test("counts versions: writes count, views share the count, copies begin anew", () => {
    const engine = newEngine();
    const x = tensor([1, 2], { engine });
    const [view, copy] = [x.flip(), x.clone()];
    x.assign(tensor([3, 4], { engine }));
    x.assign(tensor([5, 6], { engine }));
    expect([x.storage.version, view.storage.version, copy.storage.version]).toEqual([2, 2, 0]);
    expect([valuesOf(x), valuesOf(view), valuesOf(copy)]).toEqual([
      [5, 6],
      [6, 5],
      [1, 2],
    ]);
  });
});
