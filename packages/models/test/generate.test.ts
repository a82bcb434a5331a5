import { expectNoLeak, randomKey, tensor } from "@revnet-zero/tensor";
import { rejectionText } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { generate, ReversibleTransformer } from "../src/index.ts";
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

  test("leaves the model as it was, and nothing behind", async () => {
    expect(model.training).toBe(true);
    await expectNoLeak(engine, async () => {
      await generate(model, prompt, { length: 3, key });
    });
    expect(model.training).toBe(true);
  });

  test.each([
    ["an empty prompt", [], { length: 1 }],
    ["a negative length", prompt, { length: -1 }],
    ["a temperature below 0", prompt, { length: 1, temperature: -1 }],
    ["no tokens to draw from", prompt, { length: 1, topK: 0 }],
  ])("refuses %s", async (_, start, options) => {
    expect(await rejectionText(generate(model, start, { ...options, key }))).toMatchSnapshot();
  });
});
