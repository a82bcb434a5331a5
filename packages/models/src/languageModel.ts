import {
  Embedding,
  LearnedPositions,
  Linear,
  linearCrossEntropy,
  Module,
  type Norm,
  productType,
} from "@revnet-zero/nn";
import { describe, foldKey, ShapeError, sameShape, type Tensor, ValueError } from "@revnet-zero/tensor";
import { normOf } from "./branches.ts";
import type { ResolvedOptions } from "./options.ts";

/** Places in the key derivation of a model's parameters; the blocks' is in branches.ts. */
const TOKENS = 0;
const POSITIONS = 1;
const HEAD = 2;

/** Tokens to vectors: `[batch, time]` i32 -> `[batch, time, dModel]`. */
export class TokenEmbedding extends Module {
  readonly tokens: Embedding;
  readonly positions: LearnedPositions | undefined;
  readonly #maxSeqLen: number;

  constructor(options: ResolvedOptions) {
    super();
    const { vocabSize, dModel, maxSeqLen, key, engine } = options;
    const shared = engine === undefined ? {} : { engine };
    this.#maxSeqLen = maxSeqLen;
    this.tokens = new Embedding({ vocabulary: vocabSize, dim: dModel, key: foldKey(key, TOKENS), ...shared });
    this.positions =
      options.positions === "learned"
        ? new LearnedPositions({ length: maxSeqLen, dim: dModel, key: foldKey(key, POSITIONS), ...shared })
        : undefined;
  }

  override forward(tokens: Tensor): Tensor {
    if (tokens.rank !== 2 || tokens.dtype !== "i32") {
      throw new ShapeError(
        "model",
        `needs tokens [batch, time] i32, got ${describe(tokens)}`,
        "one row of token numbers per sequence",
      );
    }
    const time = tokens.shape[1]!;
    if (time > this.#maxSeqLen) {
      throw new ValueError(
        "model",
        `a sequence of ${time} tokens is longer than maxSeqLen ${this.#maxSeqLen}`,
        "shorten it, or build the model with a larger maxSeqLen",
      );
    }
    const x = this.tokens.call(tokens);
    return this.positions === undefined ? x : this.positions.call(x);
  }
}

/** Vectors to logits: `[batch, time, dModel]` -> `[batch, time, vocab]`; tied heads use the embedding's matrix. */
export class PredictionHead extends Module {
  readonly norm: Norm;
  readonly linear: Linear | undefined;
  readonly #tied: () => Tensor;

  constructor(options: ResolvedOptions, embedding: TokenEmbedding) {
    super();
    const { vocabSize, dModel, key, engine, tieEmbeddings } = options;
    const shared = engine === undefined ? {} : { engine };
    this.norm = normOf(dModel, options);
    this.linear = tieEmbeddings
      ? undefined
      : new Linear({ in: dModel, out: vocabSize, bias: false, key: foldKey(key, HEAD), ...shared });
    this.#tied = () => embedding.tokens.weight;
  }

  /** Mean cross-entropy in nats of features `[rows, dModel]` against i32 targets `[rows]`, of which negative ones do not count. */
  loss(x: Tensor, targets: Tensor): Tensor {
    return this.within(x.engine, () => {
      const normalised = this.norm.call(x, { to: productType(x.engine) });
      return linearCrossEntropy(normalised, this.linear?.weight ?? this.#tied(), targets);
    });
  }

  override forward(x: Tensor): Tensor {
    const normalised = this.norm.call(x, { to: productType(x.engine) });
    return this.linear === undefined ? normalised.linear(this.#tied()) : this.linear.call(normalised);
  }
}

/** A decoder language model: `call(tokens [batch, time] i32)` gives logits `[batch, time, vocab]`. */
export abstract class LanguageModel extends Module {
  abstract readonly options: ResolvedOptions;
  abstract readonly embedding: TokenEmbedding;
  abstract readonly head: PredictionHead;
  /** What the head reads: tokens `[batch, time]` i32 -> `[batch, time, dModel]`. */
  protected abstract features(tokens: Tensor): Tensor;

  override forward(tokens: Tensor): Tensor {
    return this.head.call(this.features(tokens));
  }

  /**
   * Logits of the token that follows each sequence: tokens `[batch, time]` i32, the numbers of tokens that count `[batch]` i32 ->
   * `[batch, vocab]`. Logits of no other place are computed.
   */
  nextLogits(tokens: Tensor, lengths: Tensor): Tensor {
    return this.within(tokens.engine, () => {
      const all = this.features(tokens);
      const [batch, time, dim] = all.shape as unknown as [number, number, number];
      const last = lengths.rangeOf(batch, "i32").mul(time).add(lengths).sub(1);
      return this.head.call(all.reshape([batch * time, dim]).take(last, 0));
    });
  }

  /**
   * Mean cross-entropy in nats per token: tokens and targets `[batch, time]` i32; negative targets do not count. The logits
   * of a large vocabulary are made a chunk of tokens at a time.
   */
  loss(tokens: Tensor, targets: Tensor): Tensor {
    return this.within(tokens.engine, () => tokenLoss(this.head, tokens, targets, () => this.features(tokens)));
  }
}

/** Mean cross-entropy in nats a token of what a head makes of features `[batch, time, dModel]`, for targets `[batch, time]` i32. */
export function tokenLoss(head: PredictionHead, tokens: Tensor, targets: Tensor, features: () => Tensor): Tensor {
  if (!sameShape(tokens.shape, targets.shape) || targets.dtype !== "i32") {
    throw new ShapeError(
      "model",
      `needs a target for each of the tokens ${describe(tokens)}, got ${describe(targets)}`,
      "give both as [batch, time] i32: a token's target is the token that comes after it",
    );
  }
  return tokens.engine.scope(() => {
    const all = features();
    return head.loss(all.reshape([-1, all.shape[2]!]), targets.reshape([-1]));
  });
}
