import { foldKey, type Key, randomKey, tensor, ValueError } from "@revnet-zero/tensor";
import type { ReversibleEncoderDecoder } from "./reversibleEncoderDecoder.ts";
import { checkSampling, checkTokens, draw, uniform } from "./sampling.ts";

export interface TranslateOptions {
  /** The token that every target begins with. */
  readonly start: number;
  /** How many tokens to write, at most. */
  readonly length: number;
  /** The token after which nothing follows. Default: none. */
  readonly end?: number;
  /** Divides the logits: 0 always the likeliest. Default 0. */
  readonly temperature?: number;
  /** Draw only among this many likeliest tokens. Default all. */
  readonly topK?: number;
  /** For temperatures above 0. The same key gives the same target. */
  readonly key?: Key;
}

/** Writes a target for a source, token by token, without `start` and with `end`. Runs in eval mode and unrecorded. */
export async function translate(
  model: ReversibleEncoderDecoder,
  source: ArrayLike<number>,
  { start, length, end, temperature = 0, topK, key }: TranslateOptions,
): Promise<number[]> {
  const { encoderOptions, decoderOptions, engine } = model;
  const { vocabSize, maxSeqLen } = decoderOptions;
  if (source.length === 0) throw new ValueError("translate", "the source is empty", "give at least one token");
  checkSampling("translate", { length, temperature, topK });
  checkTokens("translate", "the source", Array.from(source), encoderOptions.vocabSize);
  checkTokens("translate", "start", [start], vocabSize);
  if (length > maxSeqLen)
    throw new ValueError("translate", `length is ${length}`, `a target has at most ${maxSeqLen} tokens: maxSeqLen`);
  if (temperature > 0 && key === undefined)
    throw new ValueError(
      "translate",
      `a temperature of ${temperature} draws, without a key`,
      "pass key: randomKey(seed)",
    );
  const row = (tokens: readonly number[]) => tensor(Int32Array.from(tokens), { shape: [1, tokens.length], engine });
  const unrecorded = <T>(f: () => T): T => engine.noGrad(() => model.inEval(f));
  const whole = engine.openScope("translate");
  try {
    const memory = unrecorded(() => model.encoder.call(row(Array.from(source))));
    const written = [start];
    for (let i = 0; i < length; i++) {
      const scope = engine.openScope("translate");
      try {
        const logits = unrecorded(() => model.decoder.call(row(written), memory));
        const last = await logits.narrow(1, -1, 1).reshape([vocabSize]).data();
        const u = temperature === 0 ? 0 : uniform(foldKey(key ?? randomKey(0), i));
        written.push(draw(last as Float32Array, temperature, topK ?? vocabSize, u));
      } finally {
        scope.close();
      }
      if (written[i + 1] === end) break;
    }
    return written.slice(1);
  } finally {
    whole.close();
  }
}
