import { Conv2d, initializers, Linear, Module } from "@revnet-zero/nn";
import type { ReversibleMode } from "@revnet-zero/reversible";
import { defaultEngine, type Engine, foldKey, type Key, type Tensor, ValueError } from "@revnet-zero/tensor";
import { ConvBranch, type ImageNorm, imageNormOf } from "./convBranch.ts";
import { checkImages, ImageClassifier, type ImageOptions, sizeOf } from "./imageClassifier.ts";
import { checkChoice, checkKey, checkPositive } from "./options.ts";
import { ReversibleStages } from "./reversibleStages.ts";

export interface ReversibleResNetOptions extends ImageOptions {
  /** Blocks of each stage. Between two stages, sides are halved and channels multiplied by four. */
  readonly stageBlocks: readonly number[];
  /** Channels of each of the two streams in the first stage. */
  readonly width: number;
  /** Channels inside the branches of each stage. Default: the first stage's width, doubled from stage to stage. */
  readonly hidden?: readonly number[];
  /** Default "group". */
  readonly norm?: ImageNorm;
  /** Probability of zeroing an element of a branch's output while training. Default 0. */
  readonly dropout?: number;
  /** How activations come back in backward. Default `exact`. */
  readonly reversibility?: ReversibleMode;
  /** Bits after the point of the fixed-point streams. Default 20. */
  readonly fractionBits?: number;
  /** Key of the initial parameters. */
  readonly key: Key;
  readonly engine?: Engine;
}

type Resolved = Required<Omit<ReversibleResNetOptions, "reversibility" | "fractionBits">>;

/** Places in the key derivation of a model's parameters. */
const STEM = 0;
const HEAD = 1;
const BLOCKS = 2;

/**
 * A residual network whose stream is a pair of channel halves: y1 = x1 + F(x2), y2 = x2 + G(y1) with convolutions in F and G. Between
 * stages an integer Haar transform halves the sides, so all stages together are a bijection: `stages.inverse` gives the streams
 * behind the stem back, bit for bit.
 * Source: Gomez et al. 2017 (arXiv:1707.04585), section 3; Jacobsen et al. 2018 (arXiv:1802.07088) for invertible down-sampling. We
 * differ: exact fixed-point streams, Haar between stages, where RevNet has ordinary blocks there that store their activations.
 *
 * ```ts
 * import { randomKey, ReversibleResNet, zeros } from "revnet-zero";
 *
 * const image = { imageSize: 28, channels: 1, numClasses: 10 };
 * const model = new ReversibleResNet({ ...image, stageBlocks: [1, 1, 1], width: 4, key: randomKey(1) });
 * model.call(zeros([2, 1, 28, 28])).shape; // => [ 2, 10 ]
 * ```
 */
export class ReversibleResNet extends ImageClassifier {
  override readonly options: Resolved;
  readonly stem: Conv2d;
  readonly stages: ReversibleStages;
  readonly head: PooledHead;

  constructor({ reversibility = "exact", fractionBits = 20, ...given }: ReversibleResNetOptions) {
    super();
    const options = resolve(given);
    const { channels, width, hidden, stageBlocks, norm, dropout, key, engine } = options;
    this.options = options;
    this.stem = new Conv2d({ in: channels, out: 2 * width, key: foldKey(key, STEM), engine });
    const stages = stageBlocks.map((count, stage) =>
      Array.from({ length: count }, (_, block) => {
        const branch = (which: number): ConvBranch =>
          new ConvBranch({
            channels: width * 4 ** stage,
            hidden: hidden[stage]!,
            norm,
            dropout,
            key: foldKey(foldKey(foldKey(foldKey(key, BLOCKS), stage), block), which),
            engine,
          });
        return { F: branch(0), G: branch(1) };
      }),
    );
    this.stages = new ReversibleStages({ stages, mode: reversibility, fractionBits });
    this.head = new PooledHead(2 * width * 4 ** (stageBlocks.length - 1), options);
  }

  /** How activations come back in backward; may be changed between steps. */
  get reversibility(): ReversibleMode {
    return this.stages.mode;
  }
  set reversibility(mode: ReversibleMode) {
    this.stages.mode = mode;
  }

  override forward(images: Tensor): Tensor {
    checkImages("ReversibleResNet", images, this.options);
    const [x1, x2] = this.stem.call(images).split(2, 1) as [Tensor, Tensor];
    const [y1, y2] = this.stages.call(x1, x2) as [Tensor, Tensor];
    return this.head.call(y1.concat([y2], 1));
  }
}

/** The mean over all pixels of relu(norm(x)), then a linear layer: `[batch, channels, h, w]` -> `[batch, classes]`. */
export class PooledHead extends Module {
  readonly norm: ReturnType<typeof imageNormOf>;
  readonly linear: Linear;

  constructor(channels: number, { numClasses, norm, key, engine }: Resolved) {
    super();
    this.norm = imageNormOf(norm, channels, engine);
    const init = initializers.constant(0);
    this.linear = new Linear({ in: channels, out: numClasses, init, key: foldKey(key, HEAD), engine });
  }

  override forward(x: Tensor): Tensor {
    return this.linear.call(this.norm.call(x).relu().mean([2, 3]));
  }
}

function resolve(given: Omit<ReversibleResNetOptions, "reversibility" | "fractionBits">): Resolved {
  const model = "ReversibleResNet";
  const { stageBlocks, width, norm = "group" } = given;
  const [height, across] = sizeOf(given);
  const { channels, numClasses } = given;
  checkPositive(model, { height, width: across, channels, numClasses, "the streams' width": width });
  if (stageBlocks.length === 0)
    throw new ValueError(model, "stageBlocks is empty", "say how many blocks each stage has");
  for (const [i, count] of stageBlocks.entries()) checkPositive(model, { [`stageBlocks[${i}]`]: count });
  const factor = 2 ** (stageBlocks.length - 1);
  if (height % factor !== 0 || across % factor !== 0) {
    throw new ValueError(
      model,
      `images of ${height} x ${across} cannot be halved ${stageBlocks.length - 1} times`,
      `use sides that divide by ${factor}, or fewer stages`,
    );
  }
  const hidden = given.hidden ?? stageBlocks.map((_, stage) => width * 2 ** stage);
  if (hidden.length !== stageBlocks.length)
    throw new ValueError(
      model,
      `hidden has ${hidden.length} entries for ${stageBlocks.length} stages`,
      "name the channels inside the branches of each stage",
    );
  for (const [i, count] of hidden.entries()) checkPositive(model, { [`hidden[${i}]`]: count });
  checkChoice(model, "norm", norm, ["group", "batch"]);
  checkKey(model, given.key);
  return { dropout: 0, ...given, hidden, norm, engine: given.engine ?? defaultEngine() };
}
