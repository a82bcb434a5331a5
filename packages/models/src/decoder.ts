import { type Compiled, compile } from "@revnet-zero/compile";
import { Attention, Decoding } from "@revnet-zero/nn";
import {
  type DType,
  type Engine,
  foldKey,
  type Key,
  NonFiniteError,
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

/**
 * Continues sequences token by token. Attention's keys and values are kept in buffers of the model's maxSeqLen, the place lies on the device:
 * every step is the same work, recorded at its second run and, where the device can, launched as one graph; weights are brought into
 * `precision` once. The model computes in eval mode; changes to its parameters are seen at the next step.
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
  readonly #append: Compiled<[Tensor], readonly Tensor[]>;
  /** Tokens i32 [b, length], prompts' lengths i32 [b, 1], and how often logits were no numbers [b, 1]. Where they lie is part of a graph. */
  readonly #written: { readonly history: Tensor; readonly lengths: Tensor; readonly bad: Tensor };
  #sampling: Pick<Sampling, "temperature" | "topK"> = { temperature: 0, topK: undefined };
  #last: Compiled<[Tensor], Tensor | readonly Tensor[]>;
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
    this.#decoding = new Decoding({ engine, length: maxSeqLen });
    this.#written = {
      history: engine.keep(zeros([batch, maxSeqLen], { dtype: "i32", engine })),
      lengths: engine.keep(zeros([batch, 1], { dtype: "i32", engine })),
      bad: engine.keep(zeros([batch, 1], { engine })),
    };
    const options = { graph, keepsConstants: true };
    this.#step = compile((tokens: Tensor) => this.#logits(tokens).cast("f32"), options);
    this.#append = compile((history: Tensor) => this.#appendDrawn(history), {
      ...options,
      guard: () => JSON.stringify(this.#sampling),
    });
    this.#last = this.#step;
  }

  /** Tokens seen of each sequence. */
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
    const { place } = this.#decoding;
    this.#engine.scope(() => void place.assign(place.fullOf([1], 0)));
  }

  /** The next tokens of all sequences, i32 `[batch]`; gives the logits of those after them, f32 `[batch, vocabulary]`. */
  step(tokens: Tensor): Tensor {
    this.#checkRoom(1, "step");
    const logits = this.#step(tokens);
    this.#last = this.#step;
    this.#place++;
    return logits;
  }

  /**
   * Tokens after each prompt, chosen on the device: nothing is read before the end. Prompts may differ in length, and go through the model
   * token by token. The same key gives the same tokens (others than `generate`, which draws on the host).
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
    this.#sampling = { temperature, topK };
    const { batch } = this;
    const engine = this.#engine;
    const { vocabSize, maxSeqLen } = this.#model.options;
    const given = prompts.map((p) => Array.from(p));
    if (given.length !== batch || given.some((p) => p.length === 0))
      throw new ValueError(
        "Decoder.continue",
        `got ${given.length} prompts, the shortest of ${Math.min(...given.map((p) => p.length))} tokens`,
        `give ${batch}, each of at least one token`,
      );
    for (const [i, p] of given.entries()) checkTokens("Decoder.continue", `prompt ${i}`, p, vocabSize);
    const longest = Math.max(...given.map((p) => p.length));
    this.rewind();
    this.#checkRoom(longest + length - 1, "continue");
    const words = new Int32Array(batch * maxSeqLen);
    for (const [i, p] of given.entries()) words.set(p, i * maxSeqLen);
    const scope = engine.openScope("Decoder.continue");
    try {
      const { history, lengths, bad } = this.#written;
      history.assign(tensor(words, { shape: history.shape, engine }));
      lengths.assign(
        tensor(
          Int32Array.from(given, (p) => p.length),
          { shape: lengths.shape, engine },
        ),
      );
      bad.assign(bad.zerosLike());
      for (let i = 1; i < longest + length; i++) {
        if (key === undefined) this.#append(history);
        else engine.withKey(foldKey(key, i), () => this.#append(history));
        this.#place++;
      }
      this.#last = this.#append;
      const all = (await history.data()) as Int32Array;
      if ((await bad.data()).some((count) => count !== 0))
        throw new NonFiniteError(
          "Decoder.continue",
          "the model's logits hold NaN or infinity",
          "look for the first in its parameters, or load a checkpoint from before they diverged",
        );
      return given.map((p, i) => Array.from(all.subarray(i * maxSeqLen + p.length, i * maxSeqLen + p.length + length)));
    } finally {
      scope.close();
    }
  }

  #checkRoom(steps: number, what: string): void {
    const { length } = this.#decoding;
    if (this.#place + steps <= length) return;
    throw new ValueError(
      `Decoder.${what}`,
      `${this.#place} + ${steps} tokens exceed the model's maxSeqLen ${length}`,
      "rewind(), or generate(model, …), which sees the last maxSeqLen tokens",
    );
  }

  /** i32 [b] -> [b, vocabulary]; the place moves on. */
  #logits(tokens: Tensor): Tensor {
    const engine = this.#engine;
    const { place } = this.#decoding;
    const precision: DType | undefined = this.#precision === "f32" ? undefined : this.#precision;
    return engine.noGrad(() =>
      engine.scope(() => {
        const run = (): Tensor => this.#decoding.during(() => this.#model.call(tokens.reshape([this.batch, 1])));
        const logits = this.#model.inEval(() => (precision === undefined ? run() : engine.autocast(precision, run)));
        place.assign(place.add(1));
        return logits.reshape([this.batch, -1]);
      }),
    );
  }

  /** One step of `continue`. */
  #appendDrawn(history: Tensor): Tensor[] {
    const engine = this.#engine;
    const { lengths, bad } = this.#written;
    const { place } = this.#decoding;
    return engine.noGrad(() =>
      engine.scope(() => {
        const logits = this.#logits(history.take(place, 1).reshape([this.batch]));
        const key = (): Key => engine.nextKey("Decoder.continue");
        const { tokens: next, largest } = drawAll(logits, this.#sampling, key);
        // The place has moved on to where the next token goes, unless the prompt has one there.
        const isNext = history.rangeOf(history.shape[1]!, "i32").equal(place);
        const isWritten = isNext.logicalAnd(lengths.lessEqual(place));
        history.assign(isWritten.where(next, history));
        bad.assign(bad.add(largest.less(Number.POSITIVE_INFINITY).logicalNot().cast("f32")));
        return [];
      }),
    );
  }

  dispose(): void {
    this.#step.dispose();
    this.#append.dispose();
    this.#decoding.dispose();
    for (const t of Object.values(this.#written)) t.dispose();
  }
}
