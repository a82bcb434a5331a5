import { foldKey, type Key, NonFiniteError, randomWord, tensor, ValueError } from "@revnet-zero/tensor";
import type { LanguageModel } from "./languageModel.ts";

export interface GenerateOptions {
  /** How many tokens to add to the prompt. */
  readonly length: number;
  /** Divides the logits: below 1 safer, above 1 wilder, 0 always the likeliest. Default 1. */
  readonly temperature?: number;
  /** Draw only among this many likeliest tokens. Default all. */
  readonly topK?: number;
  readonly key: Key;
}

/**
 * Continues a prompt token by token; the model sees the last maxSeqLen tokens. The same key gives the same text.
 * Runs in eval mode and without recording.
 */
export async function generate(
  model: LanguageModel,
  prompt: ArrayLike<number>,
  { length, temperature = 1, topK, key }: GenerateOptions,
): Promise<number[]> {
  if (prompt.length === 0)
    throw new ValueError("generate", "the prompt is empty", "give at least one token to continue");
  if (!(temperature >= 0))
    throw new ValueError("generate", `temperature is ${temperature}`, "use 0 or a positive number");
  if (!Number.isInteger(length) || length < 0)
    throw new ValueError("generate", `length is ${length}`, "use a whole number of tokens");
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1))
    throw new ValueError("generate", `topK is ${topK}`, "use a whole number from 1, or leave it out for all tokens");
  const { vocabSize, maxSeqLen } = model.options;
  const tokens = Array.from(prompt);
  const wrong = tokens.findIndex((token) => !Number.isInteger(token) || token < 0 || token >= vocabSize);
  if (wrong !== -1)
    throw new ValueError(
      "generate",
      `the prompt has ${tokens[wrong]} at place ${wrong}`,
      `tokens are whole numbers from 0 to ${vocabSize - 1}`,
    );
  const { engine } = model.embedding.tokens.weight;
  for (let i = 0; i < length; i++) {
    const context = tokens.slice(-maxSeqLen);
    const scope = engine.openScope("generate");
    try {
      const last = engine.noGrad(() => {
        const input = tensor(Int32Array.from(context), { shape: [1, context.length], engine });
        return model
          .inEval(() => model.call(input))
          .narrow(1, -1, 1)
          .reshape([vocabSize]);
      });
      tokens.push(draw((await last.data()) as Float32Array, temperature, topK ?? vocabSize, uniform(foldKey(key, i))));
    } finally {
      scope.close();
    }
  }
  return tokens.slice(prompt.length);
}

const uniform = (key: Key): number => randomWord(key, 0) / 4294967296;

/** One token by its logits: softmax at the temperature over the topK likeliest, inverted at u in [0, 1). */
function draw(logits: Float32Array, temperature: number, topK: number, u: number): number {
  // Minus infinity is a token that cannot be; anything else that is no number has no softmax.
  if (!logits.every((logit) => logit < Number.POSITIVE_INFINITY))
    throw new NonFiniteError(
      "generate",
      "the model's logits hold NaN or infinity",
      "look for the first in its parameters, or load a checkpoint from before they diverged",
    );
  const ranked = Array.from(logits, (logit, token) => ({ logit, token })).sort(
    (a, b) => b.logit - a.logit || a.token - b.token,
  );
  const kept = ranked.slice(0, temperature === 0 ? 1 : topK);
  const top = kept[0]!.logit;
  const weights = kept.map(({ logit }) => (temperature === 0 ? 1 : Math.exp((logit - top) / temperature)));
  let rest = u * weights.reduce((a, b) => a + b, 0);
  for (const [i, w] of weights.entries()) {
    rest -= w;
    if (rest < 0) return kept[i]!.token;
  }
  return kept[kept.length - 1]!.token;
}
