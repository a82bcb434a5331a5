import { Module, type Norm } from "@revnet-zero/nn";
import {
  type AdditiveBranches,
  type CoupledBlock,
  multiStream,
  type ReversibleMode,
  ReversibleSequence,
  steps,
} from "@revnet-zero/reversible";
import { type Engine, foldKey, type Key, ShapeError, type Tensor } from "@revnet-zero/tensor";
import { AttentionBranch, branchesOf, FeedForwardBranch, layerKey, MemoryBranch, normOf } from "./branches.ts";
import { PredictionHead, TokenEmbedding, tokenLoss } from "./languageModel.ts";
import { checkHeads, checkMlp, type ResolvedOptions, resolveOptions, type TransformerOptions } from "./options.ts";
import { joinStreams, openStreams } from "./streams.ts";

/** Options that have a default may be left out. */
export interface EncoderDecoderOptions
  extends Omit<TransformerOptions, "vocabSize" | "numLayers" | "positions" | "key" | "engine"> {
  /** Number of source tokens. Default 256: bytes. */
  readonly sourceVocabSize?: number;
  /** Number of target tokens. Default that of source tokens. */
  readonly targetVocabSize?: number;
  readonly numEncoderLayers: number;
  readonly numDecoderLayers: number;
  /** Default "learned": the memory is read by content, so its vectors must say where they are. */
  readonly positions?: "rotary" | "learned";
  /** How activations come back in backward. Default `exact`. */
  readonly reversibility?: ReversibleMode;
  /** Bits after the point of fixed-point streams, or "auto" to measure. Default 20 for int32 streams, measured for the others. */
  readonly fractionBits?: number | "auto" | undefined;
  /** Key of the initial parameters. */
  readonly key: Key;
  readonly engine?: Engine;
}

/** Places in the key derivation of a model's parameters. */
const ENCODER = 0;
const DECODER = 1;

/** Source tokens to the memory: `[batch, places]` i32 -> `[batch, places, dModel]`, every place seeing every other. */
export class ReversibleEncoder extends Module {
  readonly embedding: TokenEmbedding;
  readonly sequence: ReversibleSequence<AdditiveBranches>;
  readonly norm: Norm;

  constructor(options: ResolvedOptions, mode: ReversibleMode, fractionBits: EncoderDecoderOptions["fractionBits"]) {
    super();
    this.embedding = new TokenEmbedding(options);
    const blocks = branchesOf(options.dModel, { ...options, isCausal: false });
    this.sequence = new ReversibleSequence({ blocks, mode, fractionBits, channels: options.dModel });
    this.norm = normOf(options.dModel, options);
  }

  override forward(source: Tensor): Tensor {
    const streams = openStreams(this.embedding.call(source), "full");
    return this.norm.call(joinStreams(this.sequence.call(...streams), "full"));
  }
}

/** The branches of a decoder's layer. */
export interface DecoderBlock extends CoupledBlock {
  readonly attention: AttentionBranch;
  readonly memory: MemoryBranch;
  readonly mlp: FeedForwardBranch;
}

/** a += attention(b), b += memory(a), a += mlp(b); then the streams change places, so that each is read and written alike. */
function decoderBlock(options: ResolvedOptions, layer: number): DecoderBlock {
  const key = layerKey(options.key, layer);
  const width = options.dModel;
  const attention = new AttentionBranch(width, options, key);
  const memory = new MemoryBranch(width, { ...options, memoryDim: width }, key);
  const mlp = new FeedForwardBranch(width, options, key);
  const { coupling, streams, program } = multiStream({
    name: "decoder layer",
    streams: 2,
    steps: [
      { target: 0, sources: [1], branch: attention, name: "attention" },
      { target: 1, sources: [0], branch: memory, name: "memory" },
      { target: 0, sources: [1], branch: mlp, name: "mlp" },
      steps.permute(1, 0),
    ],
  });
  return { attention, memory, mlp, coupling, streams, program };
}

/** Target tokens and a memory to logits: `[batch, time]` i32 -> `[batch, time, vocab]`, no token seeing a later one. */
export class ReversibleDecoder extends Module {
  readonly embedding: TokenEmbedding;
  readonly sequence: ReversibleSequence<DecoderBlock>;
  readonly head: PredictionHead;

  constructor(options: ResolvedOptions, mode: ReversibleMode, fractionBits: EncoderDecoderOptions["fractionBits"]) {
    super();
    this.embedding = new TokenEmbedding(options);
    const blocks = Array.from({ length: options.numLayers }, (_, layer) => decoderBlock(options, layer));
    this.sequence = new ReversibleSequence({ blocks, mode, fractionBits, channels: options.dModel });
    this.head = new PredictionHead(options, this.embedding);
  }

  /** What the head reads, `[batch, time, dModel]`. */
  features(tokens: Tensor, memory: Tensor): Tensor {
    const streams = openStreams(this.embedding.call(tokens), "full");
    return joinStreams(this.sequence.call(...streams, memory), "full");
  }

  override forward(tokens: Tensor, memory: Tensor): Tensor {
    return this.head.call(this.features(tokens, memory));
  }
}

/**
 * An encoder and a decoder, both reversible. The memory is external to the decoder's streams: each of its layers reads it, and the
 * gradients of all of them are added up, in the order of ordinary backpropagation. Full-width streams both start as the embedding
 * and are averaged at the end. The sources of a batch are of one length, as are its targets.
 * Source: Vaswani et al. 2017 (arXiv:1706.03762); reversible on both sides as Kitaev et al. 2020 (arXiv:2001.04451), section 5. We
 * differ: exact fixed-point streams.
 *
 * ```ts
 * import { randomKey, ReversibleEncoderDecoder, tensor } from "revnet-zero";
 *
 * const layers = { numEncoderLayers: 2, numDecoderLayers: 2, dModel: 16, numHeads: 2, maxSeqLen: 8 };
 * const model = new ReversibleEncoderDecoder({ ...layers, key: randomKey(1) });
 * const tokens = (rows: number[][]) => tensor(rows, { dtype: "i32" });
 * model.call(tokens([[72, 105, 33]]), tokens([[1, 2]])).shape; // => [ 1, 2, 256 ]
 * ```
 */
export class ReversibleEncoderDecoder extends Module {
  readonly encoderOptions: ResolvedOptions;
  readonly decoderOptions: ResolvedOptions;
  readonly encoder: ReversibleEncoder;
  readonly decoder: ReversibleDecoder;

  constructor(options: EncoderDecoderOptions) {
    super();
    const { reversibility = "exact", fractionBits, key, ...rest } = options;
    const {
      sourceVocabSize = 256,
      targetVocabSize = sourceVocabSize,
      numEncoderLayers,
      numDecoderLayers,
      ...shape
    } = rest;
    const model = "ReversibleEncoderDecoder";
    const half = (vocabSize: number, numLayers: number, place: number): ResolvedOptions => {
      const given = key === undefined ? undefined : foldKey(key, place);
      const half = { positions: "learned", ...shape, vocabSize, numLayers, key: given as Key } as const;
      const resolved = resolveOptions(model, half);
      checkHeads(model, resolved.dModel, resolved);
      checkMlp(model, resolved.dModel, resolved);
      return resolved;
    };
    this.encoderOptions = half(sourceVocabSize, numEncoderLayers, ENCODER);
    this.decoderOptions = half(targetVocabSize, numDecoderLayers, DECODER);
    this.encoder = new ReversibleEncoder(this.encoderOptions, reversibility, fractionBits);
    this.decoder = new ReversibleDecoder(this.decoderOptions, reversibility, fractionBits);
  }

  /** How activations come back in backward, on both sides; may be changed between steps. */
  get reversibility(): ReversibleMode {
    return this.decoder.sequence.mode;
  }
  set reversibility(mode: ReversibleMode) {
    for (const { sequence } of [this.encoder, this.decoder]) sequence.mode = mode;
  }

  /** Sources `[batch, places]` and target tokens `[batch, time]`, i32 -> logits `[batch, time, targetVocabSize]`. */
  override forward(source: Tensor, tokens: Tensor): Tensor {
    checkBatch(source, tokens);
    return this.decoder.call(tokens, this.encoder.call(source));
  }

  /** Mean cross-entropy in nats per target token; negative targets do not count. */
  loss(source: Tensor, tokens: Tensor, targets: Tensor): Tensor {
    checkBatch(source, tokens);
    const { encoder, decoder } = this;
    return this.within(tokens.engine, () =>
      tokenLoss(decoder.head, tokens, targets, () => decoder.features(tokens, encoder.call(source))),
    );
  }
}

function checkBatch(source: Tensor, tokens: Tensor): void {
  if (source.shape[0] === tokens.shape[0]) return;
  throw new ShapeError(
    "ReversibleEncoderDecoder",
    `${source.shape[0]} sources and ${tokens.shape[0]} targets`,
    "give a target for each source: [batch, places] and [batch, time]",
  );
}
