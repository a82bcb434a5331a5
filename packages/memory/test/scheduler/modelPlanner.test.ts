import { type BlockPolicy, offloadTo, type ReversibleSequence } from "@revnet-zero/reversible";
import { errorText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Arm } from "../../src/costModel/arms.ts";
import { type ChainPolicy, DiskStore, LayerScheduler, ModelPlanner, staticTimes } from "../../src/index.ts";
import { bitsOf, languageModel, mixedModel, type Subject, subjects } from "./models.ts";
import { sameBitsUnderAnyPlan } from "./planProperty.ts";

/** The bytes that a pass really needs beyond those where it begins. */
function peakOf({ engine, model, pass }: Subject): number {
  const startBytes = engine.ledger.liveBytes;
  engine.ledger.resetPeak();
  engine.scope(pass);
  const { peakBytes } = engine.memory();
  model.zeroGrad();
  return peakBytes - startBytes;
}

describe.each(subjects.map((make) => make()))("$name", (subject) => {
  const { model } = subject;
  const planner = new ModelPlanner(model, subject.pass);

  test("a plan's peak is the ledger's, to the byte, and within the budget", () => {
    const [least, most] = [planner.least.peakBytes, planner.most.peakBytes];
    expect(most).toBeGreaterThan(least);
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (share) => {
        const budget = Math.floor(least + share * (most - least));
        const plan = planner.plan(budget)!;
        expect(plan.peakBytes).toBeLessThanOrEqual(budget);
        planner.apply(plan);
        expect(peakOf(subject)).toBe(plan.peakBytes);
      }),
      runs(5),
    );
  });

  test("gradients are the same bits under any plan", () => {
    fc.assert(sameBitsUnderAnyPlan(subject), runs(6));
  });

  test("a budget below the least peak is an error that says what is needed", () => {
    const { peakBytes } = planner.least;
    expect(errorText(() => planner.planWithin(peakBytes - 1 + 1000, { startBytes: 1000 }))).toContain(
      `raise the budget to ${peakBytes + 1000} bytes`,
    );
    expect(planner.planWithin(peakBytes + 1000, { startBytes: 1000 }).peakBytes).toBe(peakBytes);
  });

  test("the curve goes from less memory to less time", () => {
    const curve = planner.curve(4);
    expect(curve.length).toBeGreaterThan(1);
    curve.slice(1).forEach((plan, i) => {
      expect(plan.timeMs).toBeLessThan(curve[i]!.timeMs);
      expect(plan.peakBytes).toBeGreaterThan(curve[i]!.peakBytes);
    });
  });
});

test("in bfloat16, where copies of weights come with the first rehearsal, a plan's peak is the ledger's as well", () => {
  const subject = languageModel(undefined, { numLayers: 3, precision: "bf16" });
  const planner = new ModelPlanner(subject.model, subject.pass);
  for (const plan of [planner.most, planner.least]) {
    planner.apply(plan);
    expect(peakOf(subject)).toBe(plan.peakBytes);
  }
});

test("the plan of a small model is the best of all plans, by their ledgers", () => {
  const { model, pass } = languageModel(undefined, { numLayers: 3 });
  const planner = new ModelPlanner(model, pass);
  const policies = ["store", "checkpoint", "reconstruct"] as const;
  const all = Array.from({ length: 27 }, (_, n) =>
    [n % 3, Math.floor(n / 3) % 3, Math.floor(n / 9)].map((c) => policies[c]!),
  );
  const layers = new LayerScheduler(model);
  const costs = all.map((plan) => {
    // With every layer pinned there is one plan, which is rehearsed.
    plan.forEach((policy, i) => void layers.pin(i, policy));
    const { peakBytes } = new ModelPlanner(model, pass, { layers }).least;
    const choices = planner.times.items.map(({ place }) =>
      place === undefined ? 0 : policies.indexOf(plan[place.block]!),
    );
    return { peakBytes, timeMs: planner.times.expectedMs({ choices }) };
  });
  const [least, most] = [planner.least.peakBytes, planner.most.peakBytes];
  for (const share of [0, 0.3, 0.6, 1]) {
    const budget = Math.floor(least + share * (most - least));
    const best = Math.min(...costs.filter((c) => c.peakBytes <= budget).map((c) => c.timeMs));
    expect(planner.plan(budget)!.timeMs).toBeCloseTo(best, 9);
  }
  expect(least).toBe(Math.min(...costs.map((c) => c.peakBytes)));
});

test("a plan in use stays while it fits and no other is faster by more than a hundredth", () => {
  const { model, pass } = languageModel();
  const planner = new ModelPlanner(model, pass);
  const [least, most] = [planner.least, planner.most];
  const budget = Math.ceil((least.peakBytes + most.peakBytes) / 2);
  const best = planner.plan(budget)!;
  expect(planner.plan(budget, best)!.policies).toEqual(best.policies);
  expect(planner.plan(budget, most)!.policies).toEqual(best.policies);
  expect(planner.plan(budget, least)!.timeMs).toBeLessThan(0.99 * least.timeMs);
});

const segmentsOf = (policy: string): number => (JSON.parse(policy.slice("segments ".length)) as unknown[]).length;

test("a row of ordinary blocks is planned as one, with segments that are run again together", () => {
  const subject = mixedModel();
  const { model, pass } = subject;
  const planner = new ModelPlanner(model, pass);
  expect(planner.chains.map(({ isRow }) => isRow)).toEqual([true, false, true]);
  const [row] = planner.times.items.filter(({ name }) => name === "before");
  const kept = row!.choices.map(({ policy }, c) => ({ policy, bytes: row!.keptBytes[0]![c]! }));
  const bytesOf = (policy: string) => kept.find((k) => k.policy === policy)!.bytes;
  // One segment of all blocks, whatever it does inside, keeps its input alone, which is there anyway.
  const whole = row!.choices.find(({ policy }) => /^segments \[\[.*\]\]$/.test(policy) && segmentsOf(policy) === 1);
  expect(bytesOf(whole!.policy)).toBeLessThan(bytesOf("checkpoint"));
  expect(bytesOf("checkpoint")).toBeLessThan(bytesOf("store"));
  // Every choice by itself is rehearsed as it then runs.
  const stored = bitsOf(subject, () => subject.engine.scope(pass));
  for (const { policy } of row!.choices) {
    const policies = [[policy as ChainPolicy], ...planner.most.policies.slice(1)];
    planner.apply({ policies });
    const { peakBytes, startBytes } = planner.rehearse({ policies });
    expect(peakOf(subject)).toBe(peakBytes - startBytes);
    expect(bitsOf(subject, () => subject.engine.scope(pass))).toBe(stored);
  }
  const layers = new LayerScheduler(model).pin("before.blocks.1", "store");
  expect(new ModelPlanner(model, pass, { layers }).chains.map(({ isRow }) => isRow)).toEqual([false, false, true]);
});

test("a pinned layer keeps its policy in every plan", () => {
  const { model, pass } = languageModel();
  const layers = new LayerScheduler(model).pin("sequence.blocks.1", "store").pin(3, "checkpoint");
  const planner = new ModelPlanner(model, pass, { layers });
  for (const plan of [planner.least, planner.most]) {
    expect(plan.policies[0]![1]).toBe("store");
    expect(plan.policies[0]![3]).toBe("checkpoint");
  }
  expect(errorText(() => layers.pin(9, "store"))).toBe(
    "ValueError: LayerScheduler: there is no layer 9\n  hint: use a number from 0 to 4, or a name such as sequence.blocks.0",
  );
  expect(errorText(() => layers.pin(0, "anchor"))).toContain('cannot have the policy "anchor"');
  layers.unpin(1).unpin(3).apply();
  expect(layers.pins).toEqual([]);
});

test("8-bit activations are planned where they are asked for, and only there", () => {
  const { model, pass } = languageModel();
  // By operations alone, as where tensors are large: starting ops costs nothing.
  const msOf = (arm: Arm): number => arm.work.flops / 1e6;
  const times = { ...staticTimes, expectedMs: msOf, optimisticMs: msOf };
  const asked = new ModelPlanner(model, pass, { policies: ["store", "store8", "reconstruct"], times });
  const [least, most] = [asked.least.peakBytes, asked.most.peakBytes];
  const used = [0.2, 0.4, 0.6].map((share) => asked.plan(Math.floor(least + share * (most - least)))!.policies.flat());
  expect(used.flat()).toContain("store8");
  const usual = new ModelPlanner(model, pass, { times });
  const [from, to] = [usual.least.peakBytes, usual.most.peakBytes];
  const plans = [0, 0.2, 0.4, 0.6, 1].map((share) =>
    usual.plan(Math.floor(from + share * (to - from)))!.policies.flat(),
  );
  expect(plans.flat()).not.toContain("store8");
});

test("a model without a choice is told so", () => {
  const { model, pass } = languageModel();
  (model as unknown as { reversibility: string }).reversibility = "store";
  expect(errorText(() => new ModelPlanner(model, pass))).toContain("has no blocks whose policy could be chosen");
});

test("a pass that reads a value, and one that runs a part twice, are told what to do", () => {
  const { model, pass } = languageModel();
  expect(errorText(() => new ModelPlanner(model, () => pass().itemSync()))).toContain("the pass reads a value");
  const twice = (): void => {
    pass();
    pass();
  };
  expect(errorText(() => new ModelPlanner(model, twice))).toContain("sequence.blocks.0 runs more than once in a pass");
});

test.each(["offload", "swap"] as const)("what plans that %s blocks copy is known, and over what", (policy) => {
  const { engine, model, pass } = languageModel();
  using disk = new DiskStore({ stagingBytes: 12345 });
  const { sequence } = model as unknown as { readonly sequence: ReversibleSequence };
  let written = 0;
  const write = (bytes: Uint8Array) => {
    written += bytes.byteLength;
    return disk.write(bytes);
  };
  const [read, remove] = [disk.read.bind(disk), disk.remove.bind(disk)];
  sequence.offload = offloadTo({ write, read, remove, link: () => disk.link() });
  const policies: readonly BlockPolicy[] = ["checkpoint", "reconstruct", policy];
  const planner = new ModelPlanner(model, pass, { policies });
  const { items, link } = planner.problem(() => ({ forwardMs: 1, backwardMs: 1 }));
  expect(link).toMatchObject({ mostBytes: 12345, isLive: false });
  expect(link!.bytesPerMs).toBeGreaterThan(0);
  // After a rebuilt block, too, which puts away what it ends with.
  for (const plan of [
    [policy, policy, policy, policy, policy],
    ["checkpoint", policy, "reconstruct", "reconstruct", policy],
  ] as const) {
    planner.apply({ policies: [plan] });
    written = 0;
    engine.scope(pass);
    model.zeroGrad();
    const blocks = items.filter((_, i) => planner.times.items[i]!.place !== undefined);
    const choices = blocks.map((item, i) => item.choices.find((c) => c.policy === plan[i])!);
    expect(written).toBe(choices.reduce((sum, { transferBytes = 0 }) => sum + transferBytes, 0));
    expect(disk.usedBytes).toBe(0);
  }
});

test("without a store that copies beside the computation, or without policies that copy, there is nothing to reckon with", () => {
  const { model, pass } = languageModel();
  const noTime = () => ({ forwardMs: 1, backwardMs: 1 });
  expect(new ModelPlanner(model, pass, { policies: ["store", "offload"] }).problem(noTime).link).toBeUndefined();
  (model as unknown as { readonly sequence: ReversibleSequence }).sequence.offload = {
    ...offloadTo({ write: () => 0, read: () => new Uint8Array(), remove: () => {} }),
    link: () => {
      throw new Error("nobody is to measure what no plan uses");
    },
  };
  expect(new ModelPlanner(model, pass).problem(noTime).link).toBeUndefined();
});
