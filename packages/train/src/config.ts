import type { ReversibleMode } from "@revnet-zero/reversible";

/** Everything a training run is decided by. With the same configuration, text and device a run gives the same bits. */
export interface TrainConfig {
  readonly data: DataConfig;
  readonly model: ModelConfig;
  readonly train: RunConfig;
  readonly optimizer: OptimizerConfig;
  readonly schedule: ScheduleConfig;
  readonly output: OutputConfig;
}

export interface DataConfig {
  /** `"moby-dick"`, or the path of a .txt file. */
  readonly source: string;
  /** Share of the text, from its end, that training never sees. */
  readonly heldOutFraction: number;
}

export interface ModelConfig {
  readonly numLayers: number;
  /** Width of the residual stream. */
  readonly dModel: number;
  readonly numHeads: number;
  /** Heads of keys and values; fewer than numHeads is grouped-query attention. Left out: numHeads. */
  readonly numKeyValueHeads?: number;
  /** Longest sequence the model can be given, in bytes. */
  readonly maxSeqLen: number;
  /** Width of the MLP's hidden layer over its input's. */
  readonly mlpRatio: number;
  readonly mlp: "gelu" | "geglu" | "swiglu";
  readonly norm: "layer" | "rms";
  readonly positions: "rotary" | "learned";
  /** Probability of zeroing an activation while training. */
  readonly dropout: number;
  /** How the backward pass gets its activations: `exact` rebuilds them bit for bit in fixed-point streams, `store` keeps them. */
  readonly reversibility: ReversibleMode;
  /** `full`: two streams of width dModel. `split`: two of dModel / 2. */
  readonly streams: "full" | "split";
  /** One matrix for the embedding of inputs and the prediction of outputs. */
  readonly tieEmbeddings: boolean;
  /** Bits after the point of a fixed-point stream. Left out: the engine's 20. */
  readonly fractionBits?: number;
}

export interface RunConfig {
  /** Optimizer steps. */
  readonly steps: number;
  /** Sequences of one micro-batch; an optimizer step sees batchSize x microBatches of them. */
  readonly batchSize: number;
  /** Micro-batches whose gradients are added up before a step. */
  readonly microBatches: number;
  /** Bytes of a training sequence. */
  readonly sequenceLength: number;
  readonly seed: number;
  /**
   * What matrix products, convolutions and attention read: `f32` as it is, or rounded to `bf16` or `f16`. Parameters, norms,
   * losses and streams stay float32 or fixed-point; with `f16` the loss is scaled.
   */
  readonly precision: Precision;
  /**
   * Whether whole steps are graphs of a device that has graphs (CUDA): one launch each, the same bits. Most for small batches and narrow
   * models. Elsewhere steps are recorded, and `Trainer.whyNoGraph` says why. Left out: false.
   */
  readonly graph?: boolean;
  /** Steps between evaluations on held-out text; 0 is never. */
  readonly evalEvery: number;
  /** Batches of an evaluation. */
  readonly evalBatches: number;
  /** Steps between checkpoints; 0 is only the last. */
  readonly checkpointEvery: number;
  /** Newest checkpoints kept, beside the best. */
  readonly keepLast: number;
  /** Steps between text samples; 0 is never. */
  readonly sampleEvery: number;
  /** Bytes of a text sample. */
  readonly sampleLength: number;
  /** Steps between lines of the log. */
  readonly logEvery: number;
}

export type Precision = "f32" | "bf16" | "f16";

export interface OptimizerConfig {
  readonly name: "adamw" | "sgd" | "lion" | "adafactor";
  /** Of the step after warm-up: the highest one. */
  readonly learningRate: number;
  /** Decay of the running means of the gradient and its square (adamw, lion). */
  readonly betas: readonly [number, number];
  /** Added to the denominator (adamw, adafactor). */
  readonly eps: number;
  readonly weightDecay: number;
  /** Only sgd. Left out: 0. */
  readonly momentum?: number;
  /** Only sgd with momentum. Left out: false. */
  readonly nesterov?: boolean;
  /** Longest allowed norm of the whole gradient; 0 is no limit. */
  readonly clipNorm: number;
}

export interface ScheduleConfig {
  readonly name: "cosine" | "linear" | "constant";
  /** Steps over which the learning rate rises from 0. */
  readonly warmupSteps: number;
  /** Learning rate of the last step over the highest. */
  readonly minLearningRateRatio: number;
}

export interface OutputConfig {
  /** Folder of checkpoints and the report. */
  readonly dir: string;
}

/** A small byte-level model of the built-in novel, minutes on a laptop's CPU. */
export const defaultConfig: TrainConfig = {
  data: { source: "moby-dick", heldOutFraction: 0.1 },
  model: {
    numLayers: 6,
    dModel: 128,
    numHeads: 4,
    maxSeqLen: 128,
    mlpRatio: 4,
    mlp: "gelu",
    norm: "layer",
    positions: "rotary",
    dropout: 0,
    reversibility: "exact",
    streams: "full",
    tieEmbeddings: true,
  },
  train: {
    steps: 1000,
    batchSize: 8,
    microBatches: 1,
    sequenceLength: 128,
    seed: 1,
    precision: "f32",
    evalEvery: 100,
    evalBatches: 20,
    checkpointEvery: 250,
    keepLast: 3,
    sampleEvery: 250,
    sampleLength: 300,
    logEvery: 10,
  },
  optimizer: {
    name: "adamw",
    learningRate: 0.001,
    betas: [0.9, 0.95],
    eps: 1e-8,
    weightDecay: 0.1,
    clipNorm: 1,
  },
  schedule: { name: "cosine", warmupSteps: 100, minLearningRateRatio: 0.1 },
  output: { dir: "runs/default" },
};
