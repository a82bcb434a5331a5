import { type Key, NonFiniteError, randomWord, ValueError } from "@revnet-zero/tensor";

export interface Sampling {
  readonly length: number;
  readonly temperature: number;
  readonly topK: number | undefined;
}

export function checkSampling(op: string, { length, temperature, topK }: Sampling): void {
  if (!(temperature >= 0)) throw new ValueError(op, `temperature is ${temperature}`, "use 0 or a positive number");
  if (!Number.isInteger(length) || length < 0)
    throw new ValueError(op, `length is ${length}`, "use a whole number of tokens");
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1))
    throw new ValueError(op, `topK is ${topK}`, "use a whole number from 1, or leave it out for all tokens");
}

/** @param what "the prompt", "the source": what has the tokens, in the error. */
export function checkTokens(op: string, what: string, tokens: readonly number[], vocabSize: number): void {
  const wrong = tokens.findIndex((token) => !Number.isInteger(token) || token < 0 || token >= vocabSize);
  if (wrong === -1) return;
  throw new ValueError(
    op,
    `${what} has ${tokens[wrong]} at place ${wrong}`,
    `tokens are whole numbers from 0 to ${vocabSize - 1}`,
  );
}

/** A number in [0, 1). */
export const uniform = (key: Key): number => randomWord(key, 0) / 4294967296;

/** One token by its logits: softmax at the temperature over the topK likeliest, inverted at u in [0, 1). */
export function draw(logits: Float32Array, temperature: number, topK: number, u: number): number {
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
