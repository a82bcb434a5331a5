import { type Compiled, compile } from "@revnet-zero/compile";
import { Attention, Decoding } from "@revnet-zero/nn";
import {
  type DType,
  type Engine,
  foldKey,
  type Key,
  NonFiniteError,
  readAll,
  type Tensor,
  tensor,
  ValueError,
  zeros,
} from "@revnet-zero/tensor";
import type { LanguageModel } from "./languageModel.ts";
import { checkSampling, checkTokens, drawAll, type Sampling } from "./sampling.ts";

export interface DecoderOptions {
  /** Sequences that are continued at once. Default 1. */
  readonly batch?: number;
  /** What matrix products and attention read, and the type in which keys and values are kept. Default f32. */
  readonly precision?: "f32" | "bf16" | "f16";
  /** Whether a step is a graph of the device, one launch, where the device has graphs (CUDA). Default true. */
  readonly graph?: boolean;
}

export interface ContinueOptions {
  /** How many tokens to add to each prompt. */
  readonly length: number;
  /** Divides the logits: below 1 safer, above 1 wilder, 0 always the likeliest. Default 0. */
  readonly temperature?: number;
  /** Draw only among this many likeliest tokens. Default all. */
  readonly topK?: number;
  /** Decides what is drawn; needed where the temperature is not 0. */
  readonly key?: Key;
}

/** Why a model cannot be decoded step by step; undefined where it can. */
export function whyNotDecoded(model: LanguageModel): string | undefined {
  const layers = [...model.namedModules()].filter(([, m]) => m instanceof Attention) as [string, Attention][];
  const other = layers.find(([, layer]) => !layer.decodes);
  return other === undefined ? undefined : `${other[0]} is no causal softmax attention`;
}

/** A prompt is filled up to one of few lengths, so that few recordings serve: powers of two, and from here on multiples. */
const LARGEST_POWER = 128;
const LEAST_PROMPT = 16;

function paddedLength(tokens: number, most: number): number {
  const power = 2 ** Math.ceil(Math.log2(Math.max(LEAST_PROMPT, tokens)));
  return Math.min(most, power <= LARGEST_POWER ? power : Math.ceil(tokens / LARGEST_POWER) * LARGEST_POWER);
}

/**
 * Continues sequences: prompts, which may differ in length, go through the model in one pass, and what follows token by token. Attention's keys
 * and values are kept in buffers of the model's maxSeqLen, and each sequence's place lies on the device: every step is the same work, recorded at
 * its second run and, where the device can, launched as one graph; weights are brought into `precision` once. The model computes in eval mode;
 * changes to its parameters are seen at the next step. A prompt's logits are, up to rounding, those of its tokens one after the other: sums are
 * in another order.
 *
 * ```ts
 * import { Decoder, randomKey, Transformer } from "revnet-zero";
 *
 * const model = new Transformer({ numLayers: 1, dModel: 8, numHeads: 1, maxSeqLen: 16, key: randomKey(1) });
 * const decoder = new Decoder(model, { batch: 2 });
 * const [first, second] = await decoder.continue([[1, 2, 3], [4]], { length: 5 });
 * [first.length, second.length]; // => [ 5, 5 ]
 * decoder.dispose();
 * ```
 */
export class Decoder {
  readonly batch: number;
  readonly #model: LanguageModel;
  readonly #engine: Engine;
  readonly #precision: NonNullable<DecoderOptions["precision"]>;
  readonly #decoding: Decoding;
  readonly #step: Compiled<[Tensor], Tensor>;
  readonly #prefill: Compiled<[Tensor, Tensor], Tensor>;
  readonly #begin: Compiled<[Tensor, Tensor], readonly Tensor[]>;
  readonly #append: Compiled<[Tensor], readonly Tensor[]>;
  /** Tokens i32 [b, maxSeqLen + 1], and how often logits were no numbers [b, 1]. Where they lie is part of a graph. */
  readonly #written: { readonly history: Tensor; readonly bad: Tensor };
  #sampling: Pick<Sampling, "temperature" | "topK"> = { temperature: 0, topK: undefined };
  #last: Pick<Compiled<[], Tensor>, "reason" | "recordings">;
  #place = 0;

  constructor(model: LanguageModel, { batch = 1, precision = "f32", graph = true }: DecoderOptions = {}) {
    const why = whyNotDecoded(model);
    if (why !== undefined)
      throw new ValueError("Decoder", why, "generate(model, …) computes the whole context anew for each token");
    if (!Number.isInteger(batch) || batch < 1)
      throw new ValueError("Decoder", `batch is ${batch}`, "use a whole number of sequences from 1");
    this.batch = batch;
    this.#model = model;
    this.#engine = model.embedding.tokens.weight.engine;
    this.#precision = precision;
    const engine = this.#engine;
    const { maxSeqLen } = model.options;
    this.#decoding = new Decoding({ engine, length: maxSeqLen, batch });
    this.#written = {
      history: engine.keep(zeros([batch, maxSeqLen + 1], { dtype: "i32", engine })),
      bad: engine.keep(zeros([batch, 1], { engine })),
    };
    // Prompts' recordings keep no weights in `precision`: each would have its own.
    const [once, again] = [{ graph }, { graph, keepsConstants: true }];
    const guard = (): string => JSON.stringify(this.#sampling);
    this.#prefill = compile((tokens: Tensor, lengths: Tensor) => this.#promptLogits(tokens, lengths).cast("f32"), once);
    this.#step = compile((tokens: Tensor) => this.#logits(tokens).cast("f32"), again);
    this.#begin = compile((tokens: Tensor, lengths: Tensor) => this.#draw(() => this.#promptLogits(tokens, lengths)), {
      ...once,
      guard,
    });
    this.#append = compile((history: Tensor) => this.#draw(() => this.#nextLogits(history)), { ...again, guard });
    this.#last = this.#step;
  }

  /** Tokens seen of the sequence of which most were. */
  get place(): number {
    return this.#place;
  }

  /** Why the last step was no graph of the device; undefined where it was. */
  get whyNoGraph(): string | undefined {
    return this.#last.reason ?? this.#last.recordings.at(-1)?.whyNoGraph;
  }

  /** Forgets what was seen. */
  rewind(): void {
    this.#place = 0;
    const { places } = this.#decoding;
    this.#engine.scope(() => void places.assign(places.fullOf(places.shape, 0)));
  }

  /**
   * Forgets what was seen, and reads a prompt for every sequence in one pass of the model; gives the logits of the tokens after them, f32
   * `[batch, vocabulary]`.
   *
   * ```ts
   * import { Decoder, randomKey, Transformer } from "revnet-zero";
   *
   * const model = new Transformer({ numLayers: 1, dModel: 8, numHeads: 1, maxSeqLen: 16, key: randomKey(1) });
   * const decoder = new Decoder(model, { batch: 2 });
   * const logits = decoder.prefill([[1, 2, 3], [4]]);
   * const next = decoder.step(logits.argmax(-1));
   * [next.shape, decoder.place]; // => [ [ 2, 256 ], 4 ]
   * decoder.dispose();
   * ```
   */
  prefill(prompts: readonly ArrayLike<number>[]): Tensor {
    const { tokens, lengths, longest } = this.#padded("prefill", prompts, 0);
    const logits = this.#engine.scope(() => this.#prefill(this.#words(tokens, this.batch), this.#words(lengths)));
    this.#last = this.#prefill;
    this.#place = longest;
    return logits;
  }

  /** The next tokens of all sequences, i32 `[batch]`; gives the logits of those after them, f32 `[batch, vocabulary]`. */
  step(tokens: Tensor): Tensor {
    this.#checkRoom("step", this.#place, 1);
    const logits = this.#step(tokens);
    this.#last = this.#step;
    this.#place++;
    return logits;
  }

  /**
   * Tokens after each prompt, chosen on the device: nothing is read before the end. Prompts may differ in length, and go through the model in
   * one pass. The same key gives the same tokens (others than `generate`, which draws on the host).
   *
   * @throws NonFiniteError where logits are no numbers.
   */
  async continue(
    prompts: readonly ArrayLike<number>[],
    { length, temperature = 0, topK, key }: ContinueOptions,
  ): Promise<number[][]> {
    checkSampling("Decoder.continue", { length, temperature, topK });
    if (temperature > 0 && key === undefined)
      throw new ValueError(
        "Decoder.continue",
        `temperature is ${temperature}, and no key is given`,
        "key: randomKey(seed)",
      );
    const engine = this.#engine;
    const { tokens, lengths, longest } = this.#padded("continue", prompts, length - 1);
    if (length === 0) return prompts.map(() => []);
    this.#sampling = { temperature, topK };
    const drawing = (n: number, run: () => void): void => {
      if (key === undefined) run();
      else engine.withKey(foldKey(key, n), run);
    };
    const scope = engine.openScope("Decoder.continue");
    try {
      const { history, bad } = this.#written;
      bad.assign(bad.zerosLike());
      const [given, ends] = [this.#words(tokens, this.batch), this.#words(lengths)];
      drawing(0, () => this.#begin(given, ends));
      for (let n = 1; n < length; n++) drawing(n, () => this.#append(history));
      this.#last = length === 1 ? this.#begin : this.#append;
      this.#place = longest + length - 1;
      const [all, counts] = (await readAll([history, bad])) as [Int32Array, Float32Array];
      if (counts.some((count) => count !== 0))
        throw new NonFiniteError(
          "Decoder.continue",
          "the model's logits hold NaN or infinity",
          "look for the first in its parameters, or load a checkpoint from before they diverged",
        );
      const width = history.shape[1]!;
      return Array.from(lengths, (from, i) => Array.from(all.subarray(i * width + from, i * width + from + length)));
    } finally {
      scope.close();
    }
  }

  #words(words: Int32Array, rows?: number): Tensor {
    const shape = rows === undefined ? [words.length] : [rows, words.length / rows];
    return tensor(words, { shape, engine: this.#engine });
  }

  /** Prompts side by side, filled up with zeros, where there is room for them and so many steps. */
  #padded(
    what: string,
    prompts: readonly ArrayLike<number>[],
    steps: number,
  ): { readonly tokens: Int32Array; readonly lengths: Int32Array; readonly longest: number } {
    const { batch } = this;
    const { vocabSize, maxSeqLen } = this.#model.options;
    const given = prompts.map((p) => Array.from(p));
    if (given.length !== batch || given.some((p) => p.length === 0))
      throw new ValueError(
        `Decoder.${what}`,
        `got ${given.length} prompts, the shortest of ${Math.min(...given.map((p) => p.length))} tokens`,
        `give ${batch}, each of at least one token`,
      );
    for (const [i, p] of given.entries()) checkTokens(`Decoder.${what}`, `prompt ${i}`, p, vocabSize);
    const lengths = Int32Array.from(given, (p) => p.length);
    const longest = Math.max(...lengths);
    this.#checkRoom(what, 0, longest + Math.max(0, steps));
    const time = paddedLength(longest, maxSeqLen);
    const tokens = new Int32Array(batch * time);
    for (const [i, p] of given.entries()) tokens.set(p, i * time);
    return { tokens, lengths, longest };
  }

  #checkRoom(what: string, seen: number, steps: number): void {
    const { length } = this.#decoding;
    if (seen + steps <= length) return;
    throw new ValueError(
      `Decoder.${what}`,
      `${seen} + ${steps} tokens exceed the model's maxSeqLen ${length}`,
      "rewind(), or generate(model, …), which sees the last maxSeqLen tokens",
    );
  }

  /** Runs the model as it decodes. */
  #run(model: () => Tensor): Tensor {
    const precision: DType | undefined = this.#precision === "f32" ? undefined : this.#precision;
    const engine = this.#engine;
    return engine.noGrad(() =>
      engine.scope(() =>
        this.#model.inEval(() => (precision === undefined ? model() : engine.autocast(precision, model))),
      ),
    );
  }

  /** i32 [b] -> [b, vocabulary]; the places move on. */
  #logits(tokens: Tensor): Tensor {
    const { places } = this.#decoding;
    const inputs = tokens.reshape([this.batch, 1]);
    const logits = this.#run(() => this.#decoding.during(() => this.#model.call(inputs)));
    places.assign(places.add(1));
    return logits.reshape([this.batch, -1]);
  }

  /** The same of prompts i32 [b, time] of these lengths i32 [b]; the places go to their ends. */
  #promptLogits(tokens: Tensor, lengths: Tensor): Tensor {
    const logits = this.#run(() => this.#decoding.duringPrompt(() => this.#model.nextLogits(tokens, lengths)));
    this.#decoding.places.assign(lengths);
    return logits;
  }

  /** The same of each sequence's token at its place. */
  #nextLogits(history: Tensor): Tensor {
    return this.#logits(history.takeAlong(this.#decoding.places.unsqueeze(1), 1).reshape([this.batch]));
  }

  /** One step of `continue`: what is drawn goes to the places that the logits have moved on to. */
  #draw(logits: () => Tensor): Tensor[] {
    const engine = this.#engine;
    const { history, bad } = this.#written;
    return engine.noGrad(() =>
      engine.scope(() => {
        const key = (): Key => engine.nextKey("Decoder.continue");
        const { tokens: next, largest } = drawAll(logits(), this.#sampling, key);
        const isNext = history.rangeOf(history.shape[1]!, "i32").equal(this.#decoding.places.unsqueeze(1));
        history.assign(isNext.where(next, history));
        bad.assign(bad.add(largest.less(Number.POSITIVE_INFINITY).logicalNot().cast("f32")));
        return [];
      }),
    );
  }

  dispose(): void {
    for (const one of [this.#prefill, this.#step, this.#begin, this.#append]) one.dispose();
    this.#decoding.dispose();
    for (const t of Object.values(this.#written)) t.dispose();
  }
}
