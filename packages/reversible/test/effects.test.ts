import { Linear, Module } from "@revnet-zero/nn";
import {
  checkpoint,
  expectNoLeak,
  foldKey,
  full,
  type HostData,
  randomKey,
  randomNormal,
  type Tensor,
  tensor,
} from "@revnet-zero/tensor";
import { errorText, expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type BlockPolicy,
  type Branch,
  losslessPolicies,
  midpoint,
  type ReversibleMode,
  ReversibleSequence,
} from "../src/index.ts";
import { newEngine } from "./fixtures.ts";

const engine = newEngine();
const modes: readonly ReversibleMode[] = ["exact", "checkpoint", "store"];

/** A layer of experts, of which a router that never decides the same way twice chooses one a row. */
class Routed extends Module {
  readonly experts: readonly Linear[];
  readonly remembers: boolean;
  decisions = 0;
  constructor(index: number, remembers: boolean) {
    super();
    const key = foldKey(randomKey(5), index);
    this.experts = [0, 1, 2].map((k) => new Linear({ in: 4, out: 4, bias: false, key: foldKey(key, k), engine }));
    this.remembers = remembers;
  }
  override forward(x: Tensor): Tensor {
    const rows = x.shape[0]!;
    const decide = (): Tensor => {
      const chosen = Float32Array.from({ length: rows }, (_, row) => (row + this.decisions) % 3);
      this.decisions++;
      return tensor(chosen, { shape: [rows, 1], engine });
    };
    const route = this.remembers ? engine.remember(decide) : decide();
    return this.experts.map((expert, k) => expert.call(x).mul(route.equal(k).cast("f32"))).reduce((a, b) => a.add(b));
  }
}

describe("routing that depends on a state", () => {
  /** Gradients of a step; how the pass before it went is not to matter. */
  function step(
    mode: ReversibleMode,
    remembers: boolean,
    around?: "checkpoint",
    plan?: readonly BlockPolicy[],
  ): HostData[] {
    return expectNoLeak(engine, () =>
      engine.scope(() => {
        const routed = Array.from({ length: 6 }, (_, i) => new Routed(i, remembers));
        const blocks = [0, 1, 2].map((i) => ({ F: routed[2 * i]!, G: routed[2 * i + 1]! }));
        const sequence = new ReversibleSequence({ blocks, mode, engine, plan: plan && { blocks: plan } });
        const x = randomNormal([5, 4], { key: randomKey(1), engine }).requireGrad();
        const run = (a: Tensor): Tensor => {
          const [y1, y2] = sequence.call(a, a) as [Tensor, Tensor];
          return y1.mul(y2);
        };
        (around === undefined ? run(x) : checkpoint((a) => run(a), x)).sum().backward();
        if (remembers) for (const r of routed) expect(r.decisions).toBe(1);
        const found = [x.grad!, ...sequence.parameters().map((p) => p.grad!)].map((g) => g.dataSync());
        sequence.dispose();
        return found;
      }),
    );
  }

  test("is replayed where it is remembered: the decision is made once, and gradients are the stored ones", () => {
    const stored = step("store", true);
    const plans = [undefined, ...losslessPolicies.map((p) => [p, "reconstruct", p] as const)];
    for (const mode of modes) {
      for (const around of [undefined, "checkpoint"] as const) {
        for (const plan of plans) {
          step(mode, true, around, plan).forEach((g, i) => {
            expectBitEqual(g, stored[i]!, `${mode} ${around} ${plan}: gradient ${i}`);
          });
        }
      }
    }
  });

  test("is another one where it is not", () => {
    expect(step("exact", false)).not.toEqual(step("store", false));
  });

  test("is what the inverse of an invertible pass finds", () => {
    engine.scope(() => {
      const sequence = new ReversibleSequence({ blocks: [{ F: new Routed(0, true), G: new Routed(1, true) }], engine });
      const x = randomNormal([5, 4], { key: randomKey(1), engine }).quantise(20);
      expectBitEqual(sequence.invertible(x, x).inverse()[0]!.dataSync(), x.dataSync());
      const [a, b] = engine.noGrad(() => sequence.call(x, x)) as [Tensor, Tensor];
      expect(sequence.inverse(a, b)[0]!.dataSync()).not.toEqual(x.dataSync());
      sequence.dispose();
    });
  });
});

test("an invertible pass is inverted in the precision it was run in, wherever its inverse is asked for", () => {
  engine.scope(() => {
    const linear = (i: number): Linear => new Linear({ in: 8, out: 8, key: foldKey(randomKey(4), i), engine });
    const sequence = new ReversibleSequence({ blocks: [{ F: linear(0), G: linear(1) }], engine });
    const x = randomNormal([5, 8], { key: randomKey(3), engine }).quantise(20);
    const pass = engine.autocast("bf16", () => sequence.invertible(x, x));
    expectBitEqual(pass.inverse()[0]!.dataSync(), x.dataSync());
    const [a, b] = engine.autocast("bf16", () => sequence.call(x, x)) as [Tensor, Tensor];
    expect(sequence.inverse(a, b)[0]!.dataSync()).not.toEqual(x.dataSync());
  });
});

test("an invertible pass that nobody inverts, or that fails, leaves nothing behind", () => {
  let fails = false;
  const branch: Branch = (x) => {
    if (fails) throw new Error("a branch failed");
    return x.mul(engine.remember(() => x.greater(0).cast("f32")));
  };
  const sequence = new ReversibleSequence({ blocks: [{ F: branch, G: branch }], engine });
  const x = full([3], 1, { engine });
  expectNoLeak(engine, () => {
    engine.scope(() => sequence.invertible(x, x).dispose());
    engine.scope(() => {
      const pass = sequence.invertible(x, x);
      fails = true;
      expect(errorText(() => pass.inverse())).toBe("Error: a branch failed");
      expect(errorText(() => sequence.invertible(x, x))).toBe("Error: a branch failed");
    });
  });
  x.dispose();
  sequence.dispose();
});

describe("a context that is passed to every branch", () => {
  interface Given {
    readonly memory: Tensor;
    readonly masks: readonly Tensor[];
  }
  const attend: Branch = (x: Tensor, { memory, masks }: Given) => x.mul(masks[0]!).add(memory).sin().mul(memory);

  test("gets the sum of its gradients, added in the stored order, in every mode and plan", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...losslessPolicies), { minLength: 1, maxLength: 5 }),
        fc.nat(),
        (plan, seed) => {
          const run = (mode: ReversibleMode): HostData[] =>
            engine.scope(() => {
              const blocks = plan.map((_, i) =>
                i % 2 === 0 ? { F: attend, G: attend } : midpoint({ f: attend, stepSize: 0.25 }),
              );
              const sequence = new ReversibleSequence({ blocks, mode, engine, plan: { blocks: plan } });
              const make = (i: number): Tensor => randomNormal([3, 4], { key: foldKey(randomKey(seed), i), engine });
              const [source, x] = [make(0).requireGrad(), make(1).requireGrad()];
              const mask = make(2);
              // Computed from a leaf, and read by the loss too.
              const memory = source.tanh().mul(1.5);
              const [y1, y2] = sequence.call(x, x, { memory, masks: [mask] }) as [Tensor, Tensor];
              mask.dispose();
              y1.add(memory).mul(y2).sum().backward();
              const found = [source.grad!, x.grad!].map((g) => g.dataSync());
              for (const b of sequence.namedBuffers().values()) b.dispose();
              return found;
            });
          const stored = run("store");
          for (const mode of modes) {
            for (const [i, g] of run(mode).entries()) expectBitEqual(g, stored[i]!, `${mode} ${i}`);
          }
        },
      ),
      runs(40),
    );
  });

  test("that is modified between forward and backward is an error", () => {
    engine.scope(() => {
      const sequence = new ReversibleSequence({ blocks: [{ F: attend, G: attend }], engine });
      const x = full([2], 1, { engine }).requireGrad();
      const [memory, mask] = [full([2], 2, { engine }), full([2], 1, { engine })];
      const loss = sequence.call(x, x, { memory, masks: [mask] })[0]!.sum();
      mask.assign(full([2], 0, { engine }));
      expect(errorText(() => loss.backward())).toContain("was modified in place between forward and backward");
    });
  });
});
