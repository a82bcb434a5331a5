import { Linear, Module } from "@revnet-zero/nn";
import { AdamW } from "@revnet-zero/optim";
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
  blockPolicies,
  midpoint,
  type ReversibleMode,
  ReversibleSequence,
  updateInBackward,
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
    const plans = [undefined, ...blockPolicies.map((p) => [p, "reconstruct", p] as const)];
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
        fc.array(fc.constantFrom(...blockPolicies), { minLength: 1, maxLength: 5 }),
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

describe("updates in backward", () => {
  const size = 4;
  const make = (depth: number, seed = 1) => {
    const linear = (i: number): Linear => new Linear({ in: size, out: size, key: foldKey(randomKey(seed), i), engine });
    const layers = Array.from({ length: 2 * depth }, (_, i) => linear(i));
    const blocks = Array.from({ length: depth }, (_, i) => ({ F: layers[2 * i]!, G: layers[2 * i + 1]! }));
    return { layers, head: linear(1000), sequence: new ReversibleSequence({ blocks, engine }) };
  };
  const input = (seed: number): Tensor => randomNormal([3, size], { key: randomKey(seed), engine });

  test("by AdamW with a schedule give the weights of ordinary steps, and hold one block's gradients at a time", () => {
    const train = (isFused: boolean): { weights: HostData[]; gradientBytes: number; state: number } => {
      const { sequence, head } = make(4);
      const parameters = [...sequence.parameters(), ...head.parameters()];
      const optimizer = new AdamW(parameters, { learningRate: 0.1 });
      let learningRate = 0;
      const end = isFused ? updateInBackward(sequence, optimizer, { learningRate: () => learningRate }) : () => {};
      let gradientBytes = 0;
      for (let step = 0; step < 5; step++) {
        learningRate = 0.1 / (step + 1);
        engine.scope(() => {
          const x = input(step);
          const [y1, y2] = sequence.call(x, x) as [Tensor, Tensor];
          head.call(y1).mul(y2).sum().backward();
          gradientBytes = engine.memory().live.gradients;
          optimizer.step({ learningRate });
          optimizer.zeroGrad();
        });
      }
      end();
      const weights = parameters.map((p) => p.dataSync());
      const state = optimizer.stateDict().step;
      for (const m of [sequence, head, optimizer]) m.dispose();
      return { weights, gradientBytes, state };
    };
    const [ordinary, fused] = [train(false), train(true)];
    for (const [i, w] of ordinary.weights.entries()) expectBitEqual(fused.weights[i]!, w, `parameter ${i}`);
    expect(fused.state).toBe(ordinary.state);
    // What is left after backward is the head's.
    const layer = 4 * (size * size + size);
    expect([ordinary.gradientBytes, fused.gradientBytes]).toEqual([9 * layer, layer]);
  });

  test("are refused with what they cannot respect", () => {
    const { sequence, head } = make(1);
    const optimizer = new AdamW(sequence.parameters(), { learningRate: 0.1 });
    const refusal = (options: Parameters<typeof updateInBackward>[2]): string =>
      errorText(() => updateInBackward(sequence, optimizer, options));
    expect(refusal({ clipNorm: 1 })).toMatchInlineSnapshot(`
      "ValueError: updateInBackward: clipNorm is 1: the norm of all gradients is known only when all are
        hint: use optimizer.step() after backward instead"
    `);
    expect(refusal({ microBatches: 4 })).toMatchInlineSnapshot(`
      "ValueError: updateInBackward: microBatches is 4: gradients are complete only after the last of them
        hint: use optimizer.step() after backward instead"
    `);
    expect(refusal({ scalesLoss: true })).toMatchInlineSnapshot(`
      "ValueError: updateInBackward: the loss is scaled: a step that overflows is skipped as a whole or not at all
        hint: use optimizer.step() after backward instead"
    `);
    const end = updateInBackward(sequence, optimizer);
    engine.scope(() => {
      sequence.call(input(1), input(2))[0]!.sum().backward();
      // A factor would scale the gradients of some parameters only.
      const factor = full([], 0.5, { engine });
      expect(errorText(() => optimizer.step({ gradientFactor: factor }))).toMatchInlineSnapshot(`
        "ValueError: AdamW.step: a factor for all gradients came after some parameters had been updated in backward
          hint: clip nothing, or update all parameters here"
      `);
    });
    end();
    for (const m of [sequence, head, optimizer]) m.dispose();
  });

  test("are refused for parameters used outside of their block, before or after it, and for gradients that were there", () => {
    const { sequence, layers, head } = make(2);
    const optimizer = new AdamW(sequence.parameters(), { learningRate: 0.1 });
    const end = updateInBackward(sequence, optimizer);
    const text = (loss: () => Tensor): string =>
      engine.scope(() => {
        const found = errorText(() => loss().backward());
        sequence.zeroGrad();
        return found;
      });
    const weights = layers.map((l) => l.weight.dataSync());
    const run = (x: Tensor): Tensor => sequence.call(x, x)[0]!;
    expect(text(() => layers[0]!.call(run(input(1))).sum())).toMatchInlineSnapshot(`
      "AutogradError: updateInBackward: parameter blocks.0.F.weight [4, 4] f32 is tied: it is used in block 0 and elsewhere
        hint: a block that is rebuilt later would see the updated value: use optimizer.step() after backward instead"
    `);
    expect(text(() => run(layers[0]!.call(input(1))).sum())).toMatchInlineSnapshot(`
      "AutogradError: updateInBackward: parameter blocks.0.F.weight [4, 4] f32 is tied: it is used in block 0 and elsewhere
        hint: a block that is rebuilt later would see the updated value: use optimizer.step() after backward instead"
    `);
    expect(
      text(() => {
        layers[2]!.weight.grad = engine.keep(input(3).narrow(0, 0, 1).expand([size, size]).clone());
        return run(input(1)).sum();
      }),
    ).toMatchInlineSnapshot(`
      "AutogradError: updateInBackward: parameter blocks.1.F.weight [4, 4] f32 has a gradient before block 1 is differentiated
        hint: gradients are accumulated, or were not freed: use optimizer.step() after backward instead"
    `);
    // Twice in one graph is used twice.
    expect(text(() => run(run(input(1))).sum())).toContain("is tied");
    for (const [i, l] of layers.entries()) expectBitEqual(l.weight.dataSync(), weights[i]!, `weight ${i}`);
    end();
    expect(sequence.backwardUpdate).toBeUndefined();
    for (const m of [sequence, head, optimizer]) m.dispose();
  });
});
