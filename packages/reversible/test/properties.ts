import { BatchNorm, Module } from "@revnet-zero/nn";
import {
  expectNoLeak,
  foldKey,
  type HostData,
  randomKey,
  randomNormal,
  type Tensor,
  tensor,
  zeros,
} from "@revnet-zero/tensor";
import { expectBitEqual, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BlockPolicy, ReversibleSequence, updateInBackward, userDefined } from "../src/index.ts";
import {
  buildCoupled,
  contextOf,
  coupledGradients,
  coupledRecipes,
  plansOf,
  streamWords,
  withCoupled,
} from "./coupled.ts";
import { exactCouplings } from "./couplings.ts";
import { expectSameGradients, newEngine } from "./fixtures.ts";

/** A scale · x + c f(x) mix of two streams, as a user would write it: gradients must come from the engine. */
class Mix extends Module {
  readonly w: Tensor;
  constructor(w: Tensor) {
    super();
    this.w = this.parameter(w);
  }
  override forward(x: Tensor): Tensor {
    return x.matmul(this.w).tanh();
  }
}

/** What it throws, in words, or undefined. */
function errorOf(f: () => unknown): string | undefined {
  try {
    f();
    return undefined;
  } catch (error) {
    return String(error);
  }
}

/** A branch with batch statistics. */
class NormedByBatch extends Module {
  readonly norm: BatchNorm;
  readonly w: Tensor;
  constructor(norm: BatchNorm, w: Tensor) {
    super();
    this.norm = norm;
    this.w = this.parameter(w);
  }
  override forward(x: Tensor): Tensor {
    return this.norm.call(x).matmul(this.w).tanh();
  }
}

/** The properties that every coupling, plan and effect must have, each on `numRuns` random cases. */
export function reversibleProperties(numRuns: number): void {
  const engine = newEngine();

  describe.each(Object.keys(exactCouplings))("coupling %s", (coupling) => {
    const share = Math.max(8, Math.ceil(numRuns / Object.keys(exactCouplings).length));

    test("P1: inverse(forward(x)) has the bits of x, whatever 32-bit words x is", () => {
      fc.assert(
        fc.property(coupledRecipes({ couplings: [coupling], mostDepth: 64 }), (recipe) =>
          withCoupled(buildCoupled(recipe, engine), (subject) =>
            expectNoLeak(engine, () =>
              engine.scope(() => {
                const { sequence } = subject;
                const [streams, context] = [streamWords(subject), contextOf(subject)];
                const before = streams.map((x) => x.dataSync().slice());
                const keyed = <T>(f: () => T): T => engine.withKey(randomKey(recipe.seed), () => engine.noGrad(f));
                const outputs = keyed(() => sequence.call(streams[0]!, ...streams.slice(1), context));
                const back = keyed(() => sequence.inverse(outputs[0]!, ...outputs.slice(1), context));
                back.forEach((x, i) => {
                  expectBitEqual(x.dataSync(), before[i] as HostData, `stream ${i}`);
                });
                const pass = keyed(() => sequence.invertible(streams[0]!, ...streams.slice(1), context));
                pass.streams.forEach((y, i) => {
                  expectBitEqual(y.dataSync(), outputs[i]!.dataSync(), `output ${i}`);
                });
                pass.inverse().forEach((x, i) => {
                  expectBitEqual(x.dataSync(), before[i] as HostData, `stream ${i} of the pass`);
                });
              }),
            ),
          ),
        ),
        runs(share),
      );
    });

    test("P2: any plan gives the bits of stored backpropagation", () => {
      const cases = coupledRecipes({ couplings: [coupling] }).chain((recipe) =>
        fc.tuple(fc.constant(recipe), plansOf(recipe.depth)),
      );
      fc.assert(
        fc.property(cases, ([recipe, plan]) =>
          withCoupled(buildCoupled(recipe, engine), (subject) => {
            const stored = coupledGradients(subject, "store");
            expectSameGradients(coupledGradients(subject, "exact"), stored, "exact");
            expectSameGradients(coupledGradients(subject, "exact", { plan }), stored, `plan ${plan}`);
          }),
        ),
        runs(share),
      );
    });
  });

  test("P3: dropout of any probability is the same mask again, however many draws the other branches make", () => {
    const cases = fc.record({
      p: fc.double({ min: 0, max: 0.99, noNaN: true }),
      draws: fc.nat({ max: 3 }),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(cases, ({ p, draws, seed }) => {
        engine.scope(() => {
          /** What G adds, and its gradient, with an F that draws `n` masks before it. */
          const run = (n: number, mode: "exact" | "store" | "checkpoint"): HostData[] => {
            const F = (x: Tensor): Tensor => {
              for (let i = 0; i < n; i++) x.dropout(0.5, engine.nextKey("F")).dispose();
              return x.zerosLike();
            };
            const G = (x: Tensor): Tensor => x.dropout(p, engine.nextKey("G")).dropout(p, engine.nextKey("G"));
            const sequence = new ReversibleSequence({
              blocks: [
                { F, G },
                { F, G },
              ],
              mode,
              engine,
            });
            const x = randomNormal([3, 5], { key: randomKey(seed), engine }).requireGrad();
            const [, y] = engine.withKey(randomKey(seed + 1), () => sequence.call(x, x)) as [Tensor, Tensor];
            y.square().sum().backward();
            const found = [y.dataSync(), x.grad!.dataSync()];
            x.dispose();
            sequence.dispose();
            return found;
          };
          const stored = run(0, "store");
          for (const mode of ["exact", "checkpoint", "store"] as const) {
            run(draws, mode).forEach((values, i) => {
              expectBitEqual(values, stored[i]!, `${mode}, ${draws} draws`);
            });
          }
        });
      }),
      runs(numRuns),
    );
  });

  test("P4: a custom coupling a x + b f, in float streams, has the gradients of plain autograd within 1e-5", () => {
    const factor = fc
      .tuple(fc.constantFrom(-1, 1), fc.double({ min: 0.5, max: 2, noNaN: true }))
      .map(([s, v]) => s * v);
    const cases = fc.record({
      a: factor,
      b: fc.double({ min: -1, max: 1, noNaN: true }),
      depth: fc.nat({ max: 4 }),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(cases, ({ a, b, depth, seed }) => {
        const make = (index: number, shape: readonly number[]): Tensor =>
          randomNormal([...shape], { key: foldKey(randomKey(seed), index), engine, std: 0.4 });
        const scope = engine.openScope();
        const mixes = Array.from({ length: 2 * depth + 2 }, (_, i) => new Mix(make(i, [3, 3])));
        const blocks = Array.from({ length: depth + 1 }, (_, i) => {
          const [f, g] = [mixes[2 * i]!, mixes[2 * i + 1]!];
          return userDefined({
            branches: [f, g],
            forward: (x: Tensor, y: Tensor) => {
              const u = x.mul(a).add(f.call(y).mul(b));
              return [y.mul(a).add(g.call(u).mul(b)), u];
            },
            inverse: (z: Tensor, u: Tensor) => {
              const y = z.sub(g.call(u).mul(b)).div(a);
              return [u.sub(f.call(y).mul(b)).div(a), y];
            },
          });
        });
        const sequence = new ReversibleSequence({ blocks, mode: "float", engine });
        const [x, y] = [make(100, [2, 3]).requireGrad(), make(101, [2, 3]).requireGrad()];
        const run = (f: () => readonly Tensor[]): Float64Array => {
          engine.scope(() => {
            const [p, q] = f() as [Tensor, Tensor];
            p.mul(0.3).add(q.sin()).sum().backward();
          });
          const all = [x, y, ...sequence.parameters()].flatMap((t) => {
            const values = [...t.grad!.dataSync()];
            t.grad!.dispose();
            t.grad = undefined;
            return values;
          });
          return Float64Array.from(all);
        };
        const plain = run(() =>
          blocks.reduce<readonly [Tensor, Tensor]>(([p, q], block) => block.forward(p, q) as [Tensor, Tensor], [x, y]),
        );
        const norm = (v: Float64Array): number => Math.hypot(...v);
        for (const mode of ["float", "store-float"] as const) {
          sequence.mode = mode;
          const found = run(() => sequence.call(x, y));
          expect(norm(found.map((v, i) => v - plain[i]!)) / norm(plain)).toBeLessThan(1e-5);
        }
        for (const t of [x, y]) t.dispose();
        sequence.dispose();
        scope.close();
      }),
      runs(numRuns),
    );
  });

  test("P6: running statistics after a step are those of stored backpropagation, as are the gradients", () => {
    const cases = fc
      .record({ depth: fc.integer({ min: 1, max: 4 }), seed: fc.nat() })
      .chain(({ depth, seed }) => fc.record({ seed: fc.constant(seed), plan: plansOf(depth) }));
    fc.assert(
      fc.property(cases, ({ plan, seed }) => {
        const run = (mode: "exact" | "store", blocksPlan?: readonly BlockPolicy[]): Map<string, HostData> =>
          engine.scope(() => {
            const make = (index: number): NormedByBatch =>
              new NormedByBatch(
                new BatchNorm({ dim: 3, engine }),
                randomNormal([3, 3], { key: foldKey(randomKey(seed), index), engine }),
              );
            const blocks = plan.map((_, i) => ({ F: make(2 * i), G: make(2 * i + 1) }));
            const sequence = new ReversibleSequence({
              blocks,
              mode,
              engine,
              plan: blocksPlan && { blocks: blocksPlan },
            });
            const x = randomNormal([5, 3], { key: randomKey(seed + 9), engine });
            const [y1, y2] = sequence.call(x, x.mul(0.5)) as [Tensor, Tensor];
            y1.mul(y2).sum().backward();
            // The inverse runs every branch again, too.
            engine.noGrad(() => sequence.inverse(y1.detach(), y2.detach()));
            const found = new Map<string, HostData>();
            for (const [name, t] of sequence.stateDict()) found.set(name, t.dataSync());
            for (const [name, t] of sequence.namedParameters()) found.set(`gradient of ${name}`, t.grad!.dataSync());
            sequence.dispose();
            return found;
          });
        const stored = run("store");
        for (const [name, values] of run("exact", plan)) expectBitEqual(values, stored.get(name)!, name);
        for (const [name, values] of run("exact")) expectBitEqual(values, stored.get(name)!, name);
      }),
      runs(numRuns),
    );
  });

  test("P7: the peak of a step grows with depth by parameters and their gradients alone", () => {
    const cases = fc.record({
      coupling: fc.constantFrom(...Object.keys(exactCouplings)),
      depth: fc.integer({ min: 4, max: 12 }),
      dim: fc.constantFrom(2, 3, 5),
      seed: fc.nat({ max: 1e6 }),
    });
    fc.assert(
      fc.property(cases, ({ coupling, depth, dim, seed }) => {
        const peak = (blocks: number): number => {
          const own = newEngine();
          const shape = [16, dim];
          const sort = "f32" as const;
          const recipe = {
            coupling,
            sort,
            shape,
            gain: 1,
            dropout: 0,
            values: "plain" as const,
            fractionBits: 20,
            seed,
          };
          const subject = buildCoupled({ ...recipe, depth: blocks }, own);
          const { sequence } = subject;
          // Gradients of parameters grow with depth in every mode: without them the peak is one of activations.
          sequence.requireGrad(false);
          own.ledger.resetPeak();
          own.scope(() => {
            const xs = Array.from({ length: sequence.numStreams }, () => zeros(shape, { engine: own }).requireGrad());
            const ys = sequence.call(xs[0]!, ...xs.slice(1));
            ys.reduce((a, b) => a.add(b))
              .sum()
              .backward();
          });
          const { activationBytes } = own.memory();
          subject.dispose();
          return activationBytes;
        };
        // From three blocks on every stream has been written and read, whatever a block does to which.
        expect(peak(depth)).toBe(peak(3));
      }),
      runs(numRuns),
    );
  });

  test("P10: tied parameters are refused where they would be updated in backward; others give the same weights", () => {
    const cases = fc.record({
      depth: fc.integer({ min: 2, max: 5 }),
      tie: fc.boolean(),
      seed: fc.nat(),
      a: fc.nat(),
      b: fc.nat(),
    });
    fc.assert(
      fc.property(cases, ({ depth, tie, seed, a, b }) => {
        const run = (fused: boolean): HostData[] | string => {
          const scope = engine.openScope();
          const mixes = Array.from(
            { length: 2 * depth },
            (_, i) => new Mix(randomNormal([3, 3], { key: foldKey(randomKey(seed), i), engine })),
          );
          const other = (a + 1 + (b % (depth - 1))) % depth;
          if (tie) mixes[2 * other] = mixes[2 * (a % depth)]!;
          const blocks = Array.from({ length: depth }, (_, i) => ({ F: mixes[2 * i]!, G: mixes[2 * i + 1]! }));
          const sequence = new ReversibleSequence({ blocks, engine });
          const parameters = sequence.parameters();
          const step = (ps: readonly Tensor[]): void => {
            engine.noGrad(() =>
              engine.scope(() => {
                for (const p of ps) if (p.grad !== undefined) p.assign(p.sub(p.grad.mul(0.1)));
              }),
            );
          };
          if (fused) updateInBackward(sequence, { parameters, updateNow: step });
          const text = errorOf(() =>
            engine.scope(() => {
              const x = tensor(
                Array.from({ length: 6 }, () => new Random(seed).between(-1, 1)),
                { shape: [2, 3], dtype: "f32", engine },
              );
              const [y1, y2] = sequence.call(x, x) as [Tensor, Tensor];
              y1.mul(y2).sum().backward();
            }),
          );
          if (!fused) step(parameters);
          const found = parameters.map((p) => p.dataSync());
          if (fused && !tie) for (const p of parameters) expect(p.grad).toBeUndefined();
          sequence.dispose();
          scope.close();
          return text ?? found;
        };
        const [ordinary, inBackward] = [run(false), run(true)];
        if (tie) expect(inBackward).toContain("is tied");
        else
          (ordinary as HostData[]).forEach((w, i) => {
            expectBitEqual(inBackward[i] as HostData, w, `weight ${i}`);
          });
      }),
      runs(numRuns),
    );
  });
}
