import { foldKey, type Key, tensor, ValueError } from "@revnet-zero/tensor";
import type { LanguageModel } from "./languageModel.ts";
import { checkSampling, checkTokens, draw, uniform } from "./sampling.ts";

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
  checkSampling("generate", { length, temperature, topK });
  const { vocabSize, maxSeqLen } = model.options;
  const tokens = Array.from(prompt);
  checkTokens("generate", "the prompt", tokens, vocabSize);
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
