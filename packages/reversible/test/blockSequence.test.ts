import { Dropout, Linear, Module } from "@revnet-zero/nn";
import { expectNoLeak, foldKey, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { errorText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type BlockPolicy, BlockSequence, type NestedPlan } from "../src/index.ts";
import { newEngine } from "./fixtures.ts";

const engine = newEngine();
const depth = 4;

/** x + dropout(tanh(linear(x))): its second run must draw the same mask. */
class Block extends Module {
  readonly linear: Linear;
  readonly dropout = new Dropout(0.3);

  constructor(i: number) {
    super();
    this.linear = new Linear({ in: 6, out: 6, key: foldKey(randomKey(1), i), engine });
  }

  override forward(x: Tensor): Tensor {
    return x.add(this.dropout.call(this.linear.call(x).tanh()));
  }
}

const sequence = new BlockSequence({ blocks: Array.from({ length: depth }, (_, i) => new Block(i)) });

/** Output and gradients of a pass, as words; and the bytes between forward and backward. */
function pass(plan: readonly BlockPolicy[] | NestedPlan | undefined) {
  const isNested = plan?.every((entry) => entry === "store" || Array.isArray(entry)) ?? false;
  if (isNested) sequence.segments = plan as NestedPlan;
  else sequence.plan = plan && { blocks: plan as readonly BlockPolicy[] };
  return expectNoLeak(engine, () =>
    engine.scope(() => {
      const x = randomNormal([8, 6], { key: randomKey(2), engine }).requireGrad();
      const before = engine.ledger.liveBytes;
      const y = engine.withKey(randomKey(3), () => sequence.call(x));
      const heldBytes = engine.ledger.liveBytes - before;
      y.square().sum().backward();
      const leaves = [x, ...sequence.parameters()];
      const words = [y.dataSync(), ...leaves.map((p) => p.grad!.dataSync())].map((v) => Array.from(v));
      for (const p of leaves) {
        p.grad!.dispose();
        p.grad = undefined;
      }
      return { words, heldBytes };
    }),
  );
}

test("ordinary blocks have the same bits under every plan, and keep less where they are run again", () => {
  const stored = pass(undefined);
  const plans = fc.array(fc.constantFrom<BlockPolicy>("store", "checkpoint"), { minLength: depth, maxLength: depth });
  fc.assert(
    fc.property(plans, (plan) => {
      const found = pass(plan);
      expect(found.words).toEqual(stored.words);
      if (plan.includes("checkpoint")) expect(found.heldBytes).toBeLessThan(stored.heldBytes);
    }),
    runs(12),
  );
});

/** Plans for so many blocks, segments in segments. */
const nestedPlans = (numBlocks: number): fc.Arbitrary<NestedPlan> =>
  numBlocks === 0
    ? fc.constant([])
    : fc.integer({ min: 1, max: numBlocks }).chain((size) => {
        const segment = fc.boolean().chain((nests) => (nests ? nestedPlans(size) : fc.constant(stores(size))));
        const entry: fc.Arbitrary<"store" | NestedPlan> =
          size === 1 ? fc.oneof(fc.constant("store" as const), fc.constant(stores(1))) : segment;
        return fc.tuple(entry, nestedPlans(numBlocks - size)).map(([one, rest]) => [one, ...rest]);
      });
const stores = (size: number): NestedPlan => Array.from({ length: size }, () => "store" as const);

test("segments of blocks have the same bits, however they nest", () => {
  const stored = pass(undefined);
  fc.assert(
    fc.property(nestedPlans(depth), (segments) => {
      expect(pass(segments).words).toEqual(stored.words);
    }),
    runs(25),
  );
});

test("a segment keeps its input alone, and one in it nothing more until backward", () => {
  const held = (plan: NestedPlan) => pass(plan).heldBytes;
  expect(held([["store", "store", "store", "store"]])).toBeLessThan(held([["store"], ["store"], ["store"], ["store"]]));
  expect(held([[["store", "store"], "store", "store"]])).toBe(held([["store", "store", "store", "store"]]));
  expect(errorText(() => pass(["store", [], "store"]))).toBe(
    'ValueError: BlockSequence: the segments ["store",[],"store"] hold 2 blocks, the sequence has 4\n  hint: name each block once: "store" by itself, or in a list of those that are run again together',
  );
});

test("an observer hears of every block of a recorded pass, and of none that is not", () => {
  const heard: number[] = [];
  sequence.observer = { forward: (block) => heard.push(block), backward: () => {} };
  pass(["checkpoint", "store", "store", "checkpoint"]);
  expect(heard).toEqual([0, 1, 2, 3, 4]);
  engine.scope(() =>
    engine.withKey(randomKey(3), () =>
      engine.noGrad(() => sequence.call(randomNormal([1, 6], { key: randomKey(2), engine }))),
    ),
  );
  expect(heard).toHaveLength(5);
  sequence.observer = undefined;
});

test("a plan with a policy for reversible blocks is an error", () => {
  const plan = { blocks: ["store", "reconstruct", "store", "store"] as const };
  expect(errorText(() => new BlockSequence({ blocks: sequence.blocks, plan }))).toBe(
    'ValueError: BlockSequence: ordinary blocks cannot have the policy "reconstruct"\n  hint: use store or checkpoint',
  );
  expect(errorText(() => new BlockSequence({ blocks: [], plan }))).toContain("BlockSequence: the plan is for 4 blocks");
});
