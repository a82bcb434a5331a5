import type { LayerNorm } from "@revnet-zero/nn";
import { expectNoLeak, randomKey, tensor } from "@revnet-zero/tensor";
import { rejectionText } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { type GenerateOptions, generate, ReversibleTransformer } from "../src/index.ts";
import { engine, key, small } from "./fixtures.ts";

const model = new ReversibleTransformer({ ...small, dropout: 0.5 });
// Twice the usual logits: the initial ones are nearly equal.
engine.noGrad(() => engine.scope(() => model.embedding.tokens.weight.assign(model.embedding.tokens.weight.mul(40))));
const prompt = [1, 2, 3];

/** The likeliest next token of a context that fits. */
function likeliest(context: readonly number[]): number {
  return engine.scope(() => {
    model.eval();
    const tokens = tensor(Int32Array.from(context), { shape: [1, context.length], engine });
    const logits = model.call(tokens).narrow(1, -1, 1).dataSync();
    model.train();
    return logits.indexOf(Math.max(...logits));
  });
}

describe("generated text", () => {
  test("at temperature 0 takes the likeliest token, of the last maxSeqLen", async () => {
    const found = await generate(model, prompt, { length: 12, temperature: 0, key });
    const all = [...prompt, ...found];
    expect(found).toHaveLength(12);
    for (let i = prompt.length; i < all.length; i++)
      expect(all[i]).toBe(likeliest(all.slice(Math.max(0, i - small.maxSeqLen), i)));
  });

  test("is decided by the key, and by the key alone", async () => {
    const text = (seed: number): Promise<number[]> => generate(model, prompt, { length: 20, key: randomKey(seed) });
    expect(await text(1)).toEqual(await text(1));
    expect(await text(1)).not.toEqual(await text(2));
  });

  test("with topK 1 is the likeliest at any temperature, and with topK 3 one of three", async () => {
    const greedy = await generate(model, prompt, { length: 6, temperature: 0, key });
    expect(await generate(model, prompt, { length: 6, temperature: 5, topK: 1, key })).toEqual(greedy);
    const seen = new Set<number>();
    for (let seed = 0; seed < 60; seed++) {
      const [token] = await generate(model, prompt, { length: 1, temperature: 50, topK: 3, key: randomKey(seed) });
      seen.add(token!);
    }
    expect(seen.size).toBe(3);
  });

  test("follows the softmax of the logits: frequencies within five standard errors", async () => {
    const logits = engine.scope(() => {
      model.eval();
      const values = model
        .call(tensor(Int32Array.from(prompt), { shape: [1, 3], engine }))
        .narrow(1, -1, 1)
        .dataSync();
      model.train();
      return Array.from(values);
    });
    const weights = logits.map((l) => Math.exp(l / 2));
    const total = weights.reduce((a, b) => a + b);
    const draws = 600;
    const counts = new Array<number>(11).fill(0);
    for (let seed = 0; seed < draws; seed++) {
      const [token] = await generate(model, prompt, { length: 1, temperature: 2, key: randomKey(seed) });
      counts[token!]!++;
    }
    counts.forEach((count, token) => {
      const p = weights[token]! / total;
      expect(Math.abs(count - draws * p)).toBeLessThan(5 * Math.sqrt(draws * p * (1 - p)) + 1);
    });
  });

  test("leaves every part of the model in the mode it had, and nothing behind", async () => {
    model.head.eval();
    const flags = (): boolean[] => [...model.namedModules().values()].map((m) => m.training);
    const before = flags();
    expect(new Set(before).size).toBe(2);
    await expectNoLeak(engine, async () => {
      const text = generate(model, prompt, { length: 3, key });
      expect(flags()).toEqual(before);
      await text;
    });
    expect(flags()).toEqual(before);
    model.train();
  });

  test("of a longer prompt is that of its last maxSeqLen tokens; of length 0 there is none", async () => {
    const long = Array.from({ length: 30 }, (_, i) => (7 * i) % 11);
    const options = { length: 5, key };
    expect(await generate(model, long, options)).toEqual(await generate(model, long.slice(-small.maxSeqLen), options));
    expect(await generate(model, prompt, { length: 0, key })).toEqual([]);
  });

  test("never holds a token whose logit is minus infinity", async () => {
    const banned = new ReversibleTransformer({ ...small, tieEmbeddings: false });
    // The last norm gives ones for coordinate 0, and so the first column decides the logits: 0 but for token 4.
    engine.noGrad(() =>
      engine.scope(() => {
        const { norm, linear } = banned.head;
        const one = tensor(Float32Array.from([1, 0, 0, 0, 0, 0, 0, 0]), { shape: [8], engine });
        norm.weight.assign(one.mul(0));
        (norm as LayerNorm).bias.assign(one);
        const columns = new Float32Array(11 * 8);
        columns[4 * 8] = Number.NEGATIVE_INFINITY;
        linear!.weight.assign(tensor(columns, { shape: [11, 8], engine }));
      }),
    );
    const found = await generate(banned, prompt, { length: 200, key });
    expect([...new Set(found)].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 5, 6, 7, 8, 9, 10]);
    banned.dispose();
  });

  test("is refused without anything to go on from", async () => {
    const refusal = (start: readonly number[]): Promise<string> =>
      rejectionText(generate(model, start, { length: 1, key }));
    expect(await refusal([])).toMatchInlineSnapshot(`
      "ValueError: generate: the prompt is empty
        hint: give at least one token to continue"
    `);
    expect(await refusal([1, 11])).toMatchInlineSnapshot(`
      "ValueError: generate: the prompt has 11 at place 1
        hint: tokens are whole numbers from 0 to 10"
    `);
    for (const token of [-1, 1.5, Number.NaN]) expect(await refusal([token])).toContain(`the prompt has ${token} at`);
    // One that the model would not see is wrong all the same.
    expect(await refusal([99, ...new Array<number>(20).fill(1)])).toContain("the prompt has 99 at place 0");
  });

  test("is refused of no length, at no temperature, from no choice", async () => {
    const refusal = (options: Partial<GenerateOptions>): Promise<string> =>
      rejectionText(generate(model, prompt, { length: 1, key, ...options }));
    expect(await refusal({ length: -1 })).toMatchInlineSnapshot(`
      "ValueError: generate: length is -1
        hint: use a whole number of tokens"
    `);
    expect(await refusal({ temperature: -1 })).toMatchInlineSnapshot(`
      "ValueError: generate: temperature is -1
        hint: use 0 or a positive number"
    `);
    expect(await refusal({ topK: 0 })).toMatchInlineSnapshot(`
      "ValueError: generate: topK is 0
        hint: use a whole number from 1, or leave it out for all tokens"
    `);
    for (const length of [1.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(await refusal({ length })).toContain(`length is ${length}`);
    expect(await refusal({ temperature: Number.NaN })).toContain("temperature is NaN");
    expect(await refusal({ topK: 2.5 })).toContain("topK is 2.5");
  });

  test("is refused of a model whose numbers are gone: it would be the same token for ever", async () => {
    const broken = new ReversibleTransformer(small);
    engine.noGrad(() => engine.scope(() => broken.head.norm.weight.assign(broken.head.norm.weight.mul(Number.NaN))));
    expect(await rejectionText(generate(broken, prompt, { length: 1, key }))).toMatchInlineSnapshot(`
      "NonFiniteError: generate: the model's logits hold NaN or infinity
        hint: look for the first in its parameters, or load a checkpoint from before they diverged"
    `);
    broken.dispose();
  });
});
