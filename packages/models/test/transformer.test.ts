import { type ReversibleMode, reversibleModes } from "@revnet-zero/reversible";
import { expectNoLeak, randomKey, type Tensor, type TypedArray, tensor } from "@revnet-zero/tensor";
import { expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type LanguageModel, ReversibleTransformer, Transformer, type TransformerOptions } from "../src/index.ts";
import { batches, draw, engine, key, passOf, shapes, small } from "./fixtures.ts";

type Make = (options?: Partial<TransformerOptions>) => LanguageModel;
const models: readonly (readonly [string, Make])[] = [
  ["Transformer", (options) => new Transformer({ ...small, ...options })],
  ...reversibleModes.map((reversibility): [string, Make] => [
    `ReversibleTransformer, ${reversibility}`,
    (options) => new ReversibleTransformer({ ...small, reversibility, ...options }),
  ]),
];

const bits = (t: Tensor): TypedArray => t.dataSync() as TypedArray;

describe.each(models)("%s", (_, make) => {
  test("gives a row of logits for every token, and sees none that comes later", () => {
    engine.scope(() => {
      const model = make();
      const [tokens] = draw(11, { batch: 2, time: 6, seed: 1 });
      const logits = model.call(tokens);
      expect([...logits.shape, logits.dtype]).toEqual([2, 6, 11, "f32"]);
      for (let t = 5; t > 0; t--) {
        // The tokens from t on are others; the logits before are the same bits, and those after are not.
        const words = tokens.dataSync().slice() as Int32Array;
        for (const row of [0, 6]) for (let i = row + t; i < row + 6; i++) words[i] = (words[i]! + 1) % 11;
        const other = model.call(tensor(words, { shape: [2, 6], engine }));
        expectBitEqual(bits(other.narrow(1, 0, t)), bits(logits.narrow(1, 0, t)), `logits before ${t}`);
        expect(bits(other.narrow(1, t, 1))).not.toEqual(bits(logits.narrow(1, t, 1)));
      }
      model.dispose();
    });
  });

  test("has the mean cross-entropy of its logits as loss; negative targets do not count", () => {
    engine.scope(() => {
      const model = make();
      const [tokens, targets] = draw(11, { batch: 3, time: 8, seed: 5 });
      const logits = model.call(tokens).dataSync();
      const wanted = targets.dataSync();
      let [total, count] = [0, 0];
      wanted.forEach((target, row) => {
        if (target < 0) return;
        const values = Array.from(logits.subarray(row * 11, row * 11 + 11));
        total += Math.log(values.reduce((sum, v) => sum + Math.exp(v), 0)) - values[target]!;
        count++;
      });
      expect(count).toBeLessThan(wanted.length);
      expect(model.loss(tokens, targets).itemSync()).toBeCloseTo(total / count, 5);
      const none = model.loss(tokens, targets.mul(0).sub(1));
      expect(none.itemSync()).toBe(0);
      model.dispose();
    });
  });

  test("gives every parameter a gradient, and a step leaves nothing behind", async () => {
    const model = make();
    await expectNoLeak(engine, () => {
      const found = passOf(model, { batch: 2, time: 7, seed: 2 });
      for (const [name, values] of found)
        expect(
          values?.some((v) => v !== 0),
          name,
        ).toBe(true);
    });
    model.dispose();
  });

  test("drops by key in training, and nothing in eval mode", () => {
    engine.scope(() => {
      const model = make({ dropout: 0.5 });
      const [tokens] = draw(11, { batch: 2, time: 5, seed: 3 });
      const logits = (seed: number): TypedArray => bits(engine.withKey(randomKey(seed), () => model.call(tokens)));
      const dropped = logits(1);
      expectBitEqual(logits(1), dropped);
      expect(logits(2)).not.toEqual(dropped);
      model.eval();
      const whole = make();
      const wanted = bits(whole.call(tokens));
      for (const seed of [1, 2]) expectBitEqual(logits(seed), wanted);
      model.dispose();
      whole.dispose();
    });
  });

  test("starts from parameters that its key decides, each drawn anew", () => {
    const weights = (seed: number): TypedArray[] => {
      const model = make({ key: randomKey(seed), positions: "learned", tieEmbeddings: false, mlp: "swiglu" });
      const found = model.parameters().map((p) => bits(p).slice());
      model.dispose();
      return found;
    };
    expect(weights(1)).toEqual(weights(1));
    const [first, second] = [weights(1), weights(2)];
    const random = first.filter((p) => new Set(p).size > 1);
    // Embedding, positions and head; two projections of attention and three of the MLP in each of two layers.
    expect(random).toHaveLength(3 + 2 * 5);
    first.forEach((p, i) => {
      if (random.includes(p)) expect(second[i]).not.toEqual(p);
    });
    expect(new Set(random.map((p) => p[0])).size).toBe(random.length);
  });
});

describe("any model", () => {
  const kinds = fc.constantFrom<ReversibleMode | "ordinary">("ordinary", ...reversibleModes);

  test("sees no token that comes later, whatever its options", () => {
    const places = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(kinds, shapes, batches, places, (kind, shape, batch, place) => {
        engine.scope(() => {
          const model =
            kind === "ordinary"
              ? new Transformer({ ...shape, key, engine })
              : new ReversibleTransformer({ ...shape, reversibility: kind, key, engine });
          const [tokens] = draw(model.options.vocabSize, batch);
          const [others] = draw(model.options.vocabSize, { ...batch, seed: batch.seed + 1 });
          const { time } = batch;
          const seen = Math.floor(place * time);
          const mixed = tokens.narrow(1, 0, seen).concat([others.narrow(1, seen, time - seen)], 1);
          // The same key: what is dropped does not depend on the tokens.
          const before = (t: Tensor): TypedArray => bits(engine.withKey(key, () => model.call(t)).narrow(1, 0, seen));
          expectBitEqual(before(mixed), before(tokens));
          model.dispose();
        });
      }),
      runs(60),
    );
  });
});

describe("any reversible transformer", () => {
  const sameFunction: readonly ReversibleMode[] = ["store", "checkpoint"];

  test("has the loss and gradients of stored backpropagation, bit for bit, whatever its options", () => {
    fc.assert(
      fc.property(shapes, batches, (shape, batch) => {
        const model = new ReversibleTransformer({ ...shape, key, engine });
        try {
          const exact = passOf(model, batch, "exact");
          expect([...exact.values()]).not.toContain(undefined);
          for (const mode of sameFunction) {
            for (const [name, values] of passOf(model, batch, mode))
              expectBitEqual(exact.get(name) as TypedArray, values as TypedArray, `${mode}: ${name}`);
          }
        } finally {
          model.dispose();
        }
      }),
      runs(40),
    );
  });

  test("has close loss and gradients with float streams", () => {
    fc.assert(
      fc.property(shapes, batches, (shape, batch) => {
        const model = new ReversibleTransformer({ ...shape, key, engine });
        try {
          const rebuilt = passOf(model, batch, "float");
          for (const [name, values] of passOf(model, batch, "store-float")) {
            const [found, wanted] = [Array.from(rebuilt.get(name)!), Array.from(values!)];
            const size = Math.hypot(...wanted);
            const error = Math.hypot(...wanted.map((v, i) => v - found[i]!));
            expect(error, name).toBeLessThanOrEqual(1e-4 * size + 1e-7);
          }
        } finally {
          model.dispose();
        }
      }),
      runs(20),
    );
  });

  test("takes over the state of one in any other mode, and is the same model then", () => {
    const batch = { batch: 2, time: 4, seed: 9 };
    // Those that measure their binary point have it in their state, and the others do not.
    const alike = reversibleModes.filter((m) => !/16|grid/.test(m));
    for (const from of alike) {
      for (const to of alike) {
        const model = new ReversibleTransformer({ ...small, reversibility: from });
        const twin = new ReversibleTransformer({ ...small, reversibility: to, key: randomKey(8) });
        expect(passOf(twin, batch).get("loss")).not.toEqual(passOf(model, batch).get("loss"));
        twin.loadStateDict(model.stateDict());
        const state = twin.stateDict();
        expect([...state.keys()]).toEqual([...model.stateDict().keys()]);
        for (const [name, p] of model.stateDict()) expectBitEqual(bits(state.get(name)!), bits(p), name);
        expect(passOf(twin, batch, from)).toEqual(passOf(model, batch));
        model.dispose();
        twin.dispose();
      }
    }
  });
});
