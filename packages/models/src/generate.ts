import { compile } from "@revnet-zero/compile";
import { type Engine, foldKey, type Key, type Tensor, tensor, ValueError } from "@revnet-zero/tensor";
import { Decoder, whyNotDecoded } from "./decoder.ts";
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

/** Logits `[1, vocabulary]` of the token that follows others. */
interface Predictor {
  after(tokens: readonly number[]): Tensor;
  dispose(): void;
}

/**
 * Continues a prompt token by token; the model sees the last maxSeqLen tokens. The same key gives the same text. Attention's keys and
 * values are kept (`Decoder`) until maxSeqLen tokens are there; beyond, and in models whose attention keeps nothing, the context is computed anew
 * for each token. On CUDA both are one launch a token.
 * Runs in eval mode and without recording gradients.
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
  const isKept = tokens.length < maxSeqLen && whyNotDecoded(model) === undefined;
  let predictor: Predictor | undefined;
  try {
    for (let i = 0; i < length; i++) {
      if (tokens.length === maxSeqLen + 1) {
        // What was kept begins at a token that is not seen any more.
        predictor?.dispose();
        predictor = undefined;
      }
      predictor ??= (isKept && tokens.length <= maxSeqLen ? byKeeping : byContext)(model, engine);
      const scope = engine.openScope("generate");
      try {
        const logits = (await predictor.after(tokens).data()) as Float32Array;
        tokens.push(draw(logits, temperature, topK ?? vocabSize, uniform(foldKey(key, i))));
      } finally {
        scope.close();
      }
    }
  } finally {
    predictor?.dispose();
  }
  return tokens.slice(prompt.length);
}

/** The prompt through the model once, and then each token. */
function byKeeping(model: LanguageModel, engine: Engine): Predictor {
  const decoder = new Decoder(model);
  return {
    after: (tokens) =>
      decoder.place === 0
        ? decoder.prefill([tokens])
        : decoder.step(tensor(Int32Array.of(tokens[decoder.place]!), { engine })),
    dispose: () => decoder.dispose(),
  };
}

/** The whole context for each token. */
function byContext(model: LanguageModel, engine: Engine): Predictor {
  const { maxSeqLen } = model.options;
  const logits = compile(
    (context: Tensor) =>
      engine.noGrad(() =>
        model
          .inEval(() => model.call(context))
          .narrow(1, -1, 1)
          .reshape([1, -1]),
      ),
    { graph: true, keepsConstants: true },
  );
  return {
    after(tokens) {
      const context = tokens.slice(-maxSeqLen);
      return logits(tensor(Int32Array.from(context), { shape: [1, context.length], engine }));
    },
    dispose: () => logits.dispose(),
  };
}
