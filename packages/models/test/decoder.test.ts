import { Attention } from "@revnet-zero/nn";
import { expectNoLeak, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import { errorText, expectClose, rejectionText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  Decoder,
  type FeedForwardBranch,
  type LanguageModel,
  ReversibleTransformer,
  Transformer,
} from "../src/index.ts";
import { engine, small } from "./fixtures.ts";

interface Shape {
  readonly kind: "ordinary" | "exact" | "float";
  readonly positions: "rotary" | "learned";
  readonly numKeyValueHeads: number;
  readonly norm: "layer" | "rms";
  readonly mlp: "gelu" | "swiglu";
  readonly tieEmbeddings: boolean;
}

const shapes: fc.Arbitrary<Shape> = fc.record({
  kind: fc.constantFrom("ordinary", "exact", "float"),
  positions: fc.constantFrom("rotary", "learned"),
  numKeyValueHeads: fc.constantFrom(1, 2),
  norm: fc.constantFrom("layer", "rms"),
  mlp: fc.constantFrom("gelu", "swiglu"),
  tieEmbeddings: fc.boolean(),
} as const);

function build({ kind, ...shape }: Shape): LanguageModel {
  const options = { ...small, ...shape, dropout: 0.3 };
  const model =
    kind === "ordinary" ? new Transformer(options) : new ReversibleTransformer({ ...options, reversibility: kind });
  // The initial logits are nearly equal.
  engine.noGrad(() =>
    engine.scope(() => {
      for (const p of model.parameters()) if (p.rank === 2) p.assign(p.mul(8));
    }),
  );
  return model;
}

/** Logits of the last token of each context, computed anew: [batch, vocabulary]. */
const anew = (model: LanguageModel, contexts: readonly (readonly number[])[]): Tensor => {
  const shape = [contexts.length, contexts[0]!.length];
  const tokens = tensor(Int32Array.from(contexts.flat()), { shape, engine });
  return engine.noGrad(() => model.inEval(() => model.call(tokens).narrow(1, -1, 1).reshape([contexts.length, -1])));
};

describe("decoding step by step", () => {
  test("gives the logits of the whole context, up to rounding, whatever the model", () => {
    fc.assert(
      fc.property(shapes, fc.integer({ min: 1, max: 3 }), (shape, batch) => {
        const model = build(shape);
        const decoder = new Decoder(model, { batch });
        const contexts = Array.from({ length: batch }, (): number[] => []);
        for (let step = 0; step < 6; step++) {
          engine.scope(() => {
            for (const [i, context] of contexts.entries()) context.push((7 * step + 3 * i + 1) % 11);
            const found = decoder.step(
              tensor(
                Int32Array.from(contexts, (c) => c[step]!),
                { engine },
              ),
            );
            const exact = Float64Array.from(anew(model, contexts).dataSync());
            const scale = Math.max(1, ...exact.map(Math.abs));
            expectClose(
              found.dataSync(),
              { exact, dtype: "f32", scale, factor: 200 },
              `logits after ${step + 1} tokens`,
            );
          });
        }
        expect(decoder.whyNoGraph).toBe("the cpu backend has no graphs");
        decoder.dispose();
        model.dispose();
      }),
      runs(8),
    );
  });

  test("reads prompts of different lengths in one pass: then as after their tokens one by one, up to rounding, whatever the model", () => {
    const prompts = fc.array(fc.array(fc.integer({ min: 0, max: 10 }), { minLength: 1, maxLength: 6 }), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(shapes, prompts, (shape, given) => {
        const model = build(shape);
        const decoder = new Decoder(model, { batch: given.length });
        const compare = (found: Tensor, contexts: readonly (readonly number[])[], what: string): void => {
          const { vocabSize } = model.options;
          for (const [i, context] of contexts.entries()) {
            const exact = Float64Array.from(anew(model, [context]).dataSync());
            const scale = Math.max(1, ...exact.map(Math.abs));
            const row = found.dataSync().subarray(i * vocabSize, (i + 1) * vocabSize);
            expectClose(row, { exact, dtype: "f32", scale, factor: 200 }, `${what} of sequence ${i}`);
          }
        };
        // The second time and the third from recordings, over what was kept before.
        for (let n = 0; n < 3; n++)
          engine.scope(() => {
            const contexts = given.map((p) => p.map((t) => (t + n) % 11));
            compare(decoder.prefill(contexts), contexts, "logits after the prompt");
            for (let step = 0; step < 2; step++) {
              for (const [i, context] of contexts.entries()) context.push((5 * step + i) % 11);
              const next = Int32Array.from(contexts, (c) => c.at(-1)!);
              compare(decoder.step(tensor(next, { engine })), contexts, `logits ${step + 1} tokens later`);
            }
            expect(decoder.place).toBe(Math.max(...contexts.map((c) => c.length)));
          });
        decoder.dispose();
        model.dispose();
      }),
      runs(8),
    );
  });

  test("leaves what exact streams counted in the last forward pass", async () => {
    const model = new ReversibleTransformer({ ...small, reversibility: "exact" });
    // Of the last half-step: it reaches no other.
    const { down } = (model.sequence.blocks.at(-1)!.G as FeedForwardBranch).mlp;
    engine.noGrad(() => engine.scope(() => void down.bias!.assign(down.bias!.add(1e9))));
    engine.scope(() => void anew(model, [[1, 2]]));
    const counted = await model.sequence.health();
    expect(counted.saturated).toBeGreaterThan(0);
    const decoder = new Decoder(model);
    await decoder.continue([[1]], { length: 3 });
    expect(await model.sequence.health()).toEqual(counted);
    decoder.dispose();
    model.dispose();
  });

  test("fills the context to its last place, and draws the token after it", async () => {
    const model = build({
      ...({ kind: "ordinary", positions: "learned", numKeyValueHeads: 1, norm: "rms", mlp: "swiglu" } as const),
      tieEmbeddings: true,
    });
    const decoder = new Decoder(model, { batch: 2 });
    const { maxSeqLen } = small;
    const all = [[1, 2], [3]].map((prompt) => {
      const tokens = [...prompt];
      while (tokens.length < prompt.length + maxSeqLen - 1) {
        const logits = engine.scope(() => anew(model, [tokens]).dataSync());
        tokens.push(logits.indexOf(Math.max(...logits)));
      }
      return tokens.slice(prompt.length);
    });
    expect(await decoder.continue([[1, 2], [3]], { length: maxSeqLen - 1 })).toEqual(all);
    expect(await decoder.continue([[1, 2], [3]], { length: 0 })).toEqual([[], []]);
    decoder.dispose();
    model.dispose();
  });

  test("continues prompts of different lengths with the likeliest tokens, time and again, and leaves nothing", async () => {
    const model = build({
      ...({ kind: "exact", positions: "rotary", numKeyValueHeads: 2, norm: "layer", mlp: "gelu" } as const),
      tieEmbeddings: true,
    });
    const prompts = [[1, 2, 3], [4], [5, 6]];
    const expected = prompts.map((prompt) => {
      const all = [...prompt];
      for (let i = 0; i < 4; i++) {
        const logits = engine.scope(() => anew(model, [all]).dataSync());
        all.push(logits.indexOf(Math.max(...logits)));
      }
      return all.slice(prompt.length);
    });
    await expectNoLeak(engine, async () => {
      const decoder = new Decoder(model, { batch: 3 });
      for (let n = 0; n < 3; n++) {
        expect(await decoder.continue(prompts, { length: 4 })).toEqual(expected);
        expect(decoder.place).toBe(6);
      }
      // Weights that were changed are seen.
      engine.noGrad(() =>
        engine.scope(() => void model.embedding.tokens.weight.assign(model.embedding.tokens.weight.mul(0))),
      );
      expect(await decoder.continue(prompts, { length: 2 })).toEqual([
        [0, 0],
        [0, 0],
        [0, 0],
      ]);
      decoder.dispose();
    });
    expect(model.training).toBe(true);
    model.dispose();
  });

  test("draws by the softmax of the logits, decided by the key alone: frequencies within five standard errors", async () => {
    const model = build({
      ...({ kind: "ordinary", positions: "rotary", numKeyValueHeads: 1, norm: "layer", mlp: "gelu" } as const),
      tieEmbeddings: false,
    });
    const batch = 400;
    const decoder = new Decoder(model, { batch });
    const prompts = new Array<number[]>(batch).fill([3]);
    const run = async (seed: number, more: object = {}): Promise<number[]> =>
      (await decoder.continue(prompts, { length: 1, temperature: 2, key: randomKey(seed), ...more })).flat();
    const logits = engine.scope(() => Array.from(anew(model, [[3]]).dataSync()));
    const frequencies = (found: readonly number[], weights: readonly number[]): void => {
      const total = weights.reduce((a, b) => a + b);
      weights.forEach((weight, token) => {
        const p = weight / total;
        const count = found.filter((t) => t === token).length;
        expect(Math.abs(count - found.length * p)).toBeLessThanOrEqual(5 * Math.sqrt(found.length * p * (1 - p)) + 1);
      });
    };
    const all = [await run(1), await run(2), await run(3), await run(4), await run(5)];
    expect(await run(1)).toEqual(all[0]);
    expect(all[1]).not.toEqual(all[0]);
    const weights = logits.map((l) => Math.exp(l / 2));
    frequencies(all.flat(), weights);
    const third = logits.toSorted((a, b) => b - a)[2]!;
    const some = [await run(6, { topK: 3 }), await run(7, { topK: 3 })].flat();
    frequencies(
      some,
      weights.map((w, i) => (logits[i]! >= third ? w : 0)),
    );
    const likeliest = logits.indexOf(Math.max(...logits));
    expect(new Set(await run(8, { topK: 1 }))).toEqual(new Set([likeliest]));
    expect(await rejectionText(decoder.continue(prompts, { length: 1, temperature: 1 }))).toMatchInlineSnapshot(`
      "ValueError: Decoder.continue: temperature is 1, and no key is given
        hint: key: randomKey(seed)"
    `);
    decoder.dispose();
    model.dispose();
  });

  test("is refused beyond maxSeqLen, and where it would be wrong", async () => {
    const model = new Transformer(small);
    const decoder = new Decoder(model);
    expect(await rejectionText(decoder.continue([[1, 2]], { length: small.maxSeqLen }))).toMatchInlineSnapshot(`
      "ValueError: Decoder.continue: 0 + 9 tokens exceed the model's maxSeqLen 8
        hint: rewind(), or generate(model, …), which sees the last maxSeqLen tokens"
    `);
    expect(await rejectionText(decoder.continue([[1], [2]], { length: 1 }))).toMatchInlineSnapshot(`
      "ValueError: Decoder.continue: got 2 prompts, the shortest of 1 tokens
        hint: give 1, each of at least one token"
    `);
    expect(await rejectionText(decoder.continue([[99]], { length: 1 }))).toMatchInlineSnapshot(`
      "ValueError: Decoder.continue: prompt 0 has 99 at place 0
        hint: tokens are whole numbers from 0 to 10"
    `);
    engine.noGrad(() => engine.scope(() => void model.head.norm.weight.assign(model.head.norm.weight.mul(Number.NaN))));
    expect(await rejectionText(decoder.continue([[1]], { length: 2 }))).toMatchInlineSnapshot(`
      "NonFiniteError: Decoder.continue: the model's logits hold NaN or infinity
        hint: look for the first in its parameters, or load a checkpoint from before they diverged"
    `);
    decoder.dispose();
    class Means extends Attention {
      protected override attend(_: Tensor, __: Tensor, v: Tensor): Tensor {
        return v.mean(2, { keepDims: true }).expand(v.shape);
      }
    }
    const other = new ReversibleTransformer({ ...small, attention: (options) => new Means(options) });
    expect(errorText(() => new Decoder(other))).toMatchInlineSnapshot(`
      "ValueError: Decoder: sequence.blocks.0.F.attention is no causal softmax attention
        hint: generate(model, …) computes the whole context anew for each token"
    `);
    for (const m of [model, other]) m.dispose();
  });
});
