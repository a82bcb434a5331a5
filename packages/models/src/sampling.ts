import { type Key, NonFiniteError, randomUniform, randomWord, type Tensor, ValueError } from "@revnet-zero/tensor";

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

/**
 * A token of each row of logits `[batch, vocabulary]`, i32 `[batch, 1]`, drawn on the device: the largest of logit / temperature plus noise,
 * which has the softmax's distribution. Among the topK likeliest, and what equals the last of them. `largest` is the largest logit of each
 * row `[batch, 1]`: no number where any of them is none.
 * Source: Maddison, Tarlow & Minka 2014 (arXiv:1411.0030), section 2 (the Gumbel-max trick).
 */
export function drawAll(
  logits: Tensor,
  { temperature, topK }: Pick<Sampling, "temperature" | "topK">,
  key: () => Key,
): { readonly tokens: Tensor; readonly largest: Tensor } {
  if (temperature === 0) {
    const tokens = logits.argmax(-1).unsqueeze(-1);
    return { tokens, largest: logits.takeAlong(tokens, -1) };
  }
  const { engine } = logits;
  const x = logits.cast("f32");
  const least = topK === undefined ? undefined : x.topk(Math.min(topK, x.shape[1]!)).values.narrow(1, -1, 1);
  const kept = least === undefined ? x : x.greaterEqual(least).where(x, Number.NEGATIVE_INFINITY);
  const noise = randomUniform(x.shape, { key: key(), engine }).log().neg().log().neg();
  const noisy = kept.mul(1 / temperature).add(noise);
  return { tokens: noisy.argmax(-1).unsqueeze(-1), largest: x.max(-1, { keepDims: true }) };
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
