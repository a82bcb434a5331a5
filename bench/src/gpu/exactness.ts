import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { type ByteBatch, ByteDataset } from "@revnet-zero/data";
import { ReversibleTransformer } from "@revnet-zero/models";
import { Module } from "@revnet-zero/nn";
import {
  BitComparison,
  type Branch,
  checkReversible,
  ReversibleSequence,
  runBranch,
  type Streams,
} from "@revnet-zero/reversible";
import {
  type Backend,
  Engine,
  foldKey,
  type HostData,
  randomKey,
  randomNormal,
  type Tensor,
} from "@revnet-zero/tensor";
import {
  applyGradients,
  buildModel,
  buildOptimizer,
  computeGradients,
  defaultConfig,
  estimateStep,
  recordedPassOf,
  recordedStepOf,
  runKey,
  type TrainConfig,
  Trainer,
  toTensors,
} from "@revnet-zero/train";

class LowPrecision extends Module {
  readonly inner: Branch;
  constructor(inner: Branch) {
    super();
    this.inner = inner;
  }
  override forward(x: Tensor): Tensor {
    return x.engine.autocast("bf16", () => runBranch(this.inner, x));
  }
}

export interface ExactCase {
  readonly blocks: number;
  readonly dtype: "f32" | "bf16";
  readonly dropout: number;
}

/** Reconstruction and every gradient of a reversible stack against stored backpropagation, bit by bit. */
export async function isExact(backend: CudaBackend, { blocks, dtype, dropout }: ExactCase): Promise<boolean> {
  const engine = new Engine(backend);
  const size = { dModel: 64, numHeads: 4, maxSeqLen: 64 };
  const model = new ReversibleTransformer({ ...size, numLayers: blocks, dropout, key: randomKey(blocks), engine });
  engine.noGrad(() =>
    engine.scope(() => {
      // Branches as large as their streams, as training makes them.
      for (const p of model.sequence.parameters()) if (p.rank === 2) p.assign(p.mul(6));
    }),
  );
  const inPrecision = (branch: Branch): Branch => (dtype === "f32" ? branch : new LowPrecision(branch));
  const sequence = new ReversibleSequence({
    blocks: model.sequence.blocks.map(({ F, G }) => ({ F: inPrecision(F), G: inPrecision(G) })),
    mode: "exact",
    engine,
  });
  const pair = (seed: number): Streams => [
    randomNormal([4, 64, 64], { key: randomKey(2 * seed), engine }),
    randomNormal([4, 64, 64], { key: randomKey(2 * seed + 1), engine }),
  ];
  const report = await checkReversible(sequence, pair(1), pair(2), { key: randomKey(9) });
  for (const t of engine.storages) void t;
  return report.reconstructionBitEqual && report.gradientsBitEqual;
}

interface TrainSize {
  readonly numLayers: number;
  readonly dModel: number;
  readonly numHeads: number;
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly microBatches: number;
}

export interface TrainOptions extends Partial<TrainSize> {
  readonly onStep?: () => void;
  /** Runs passes (forward and backward) or whole steps as CUDA graphs; throws if the last step was not. */
  readonly graph?: "passes" | "steps" | undefined;
}

const usual: TrainSize = { numLayers: 4, dModel: 64, numHeads: 4, batchSize: 8, sequenceLength: 64, microBatches: 2 };

function config(reversibility: "exact" | "store", size: Partial<TrainSize>): TrainConfig {
  const { model, train } = defaultConfig;
  const { batchSize, sequenceLength, microBatches, ...shape } = { ...usual, ...size };
  return {
    ...defaultConfig,
    model: { ...model, ...shape, maxSeqLen: sequenceLength, dropout: 0.1, reversibility },
    train: { ...train, batchSize, sequenceLength, microBatches },
  };
}

/** Bytes with some structure, from nowhere but this function. */
export const someText = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => 97 + ((i * i + (i >> 3) * 7 + ((i * 2654435761) >>> 28)) % 26));

export interface Trained {
  readonly weights: ReadonlyMap<string, HostData>;
  readonly losses: readonly number[];
}

/** Weights and losses after some AdamW steps on any backend. */
export async function train(
  engine: Engine,
  steps: number,
  reversibility: "exact" | "store",
  { onStep, graph, ...size }: TrainOptions = {},
): Promise<Trained> {
  const settings = config(reversibility, size);
  const { seed, microBatches } = settings.train;
  const model = buildModel(settings.model, seed, engine);
  const optimizer = buildOptimizer(model, settings.optimizer);
  const data = new ByteDataset(someText(200_000), settings.train);
  const losses: number[] = [];
  const { clipNorm, learningRate } = settings.optimizer;
  const key = runKey(seed, "steps");
  const pass = graph === "passes" ? { pass: recordedPassOf(model, microBatches, { graph: true }) } : {};
  const whole =
    graph === "steps"
      ? recordedStepOf(model, optimizer, { clipNorm, graph: true, learningRate: () => learningRate })
      : undefined;
  const called = (step: number, batches: readonly ByteBatch[]): Tensor => {
    const { loss, factor } = computeGradients(model, batches, { key, step, clipNorm, ...pass });
    applyGradients(optimizer, learningRate, factor);
    return loss;
  };
  const inOne = (step: number, batches: readonly ByteBatch[]): Tensor =>
    engine.withKey(foldKey(key, step), () => whole!(...batches.flatMap((batch) => toTensors(batch, engine)))).loss;
  for (let step = 0; step < steps; step++) {
    const batches = Array.from({ length: microBatches }, (_, micro) => data.batchAt(step, micro));
    engine.scope(() => {
      losses.push((whole === undefined ? called : inOne)(step, batches).itemSync());
    });
    onStep?.();
  }
  for (const recorded of [pass.pass, whole]) {
    if (recorded === undefined) continue;
    const whyNot = [recorded.reason, ...recorded.recordings.map((r) => r.whyNoGraph)].find((w) => w !== undefined);
    if (whyNot !== undefined) throw new Error(`the last step was no graph: ${whyNot}`);
    recorded.dispose();
  }
  const weights = new Map<string, HostData>();
  for (const [name, p] of model.namedParameters()) weights.set(name, await p.data());
  optimizer.dispose();
  model.dispose();
  return { weights, losses };
}

/** Where the weights of two runs first differ, or undefined. */
export function firstDifference(a: Trained, b: Trained): string | undefined {
  const comparison = new BitComparison();
  for (const [name, values] of a.weights) comparison.add(name, b.weights.get(name)!, values);
  return comparison.isEqual ? undefined : String(comparison.firstDifference);
}

/** The same of their losses. */
export function firstDifferentLoss(a: Trained, b: Trained): string | undefined {
  const step = a.losses.findIndex((loss, i) => loss !== b.losses[i]);
  return step === -1 ? undefined : `losses of step ${step + 1}: ${a.losses[step]} and ${b.losses[step]}`;
}

/** The ledger's peak of a trainer whose steps are graphs, and what was said before. Throws if the last step was none. */
export async function peakOfGraphs(
  backend: Backend,
  reversibility: "exact" | "store",
): Promise<{ readonly predictedBytes: number; readonly measuredBytes: number }> {
  const { train, ...rest } = config(reversibility, {});
  const off = { evalEvery: 0, checkpointEvery: 0, sampleEvery: 0 };
  const settings = { ...rest, train: { ...train, ...off, steps: 6, graph: true } };
  const trainer = new Trainer({ config: settings, engine: new Engine(backend), text: someText(50_000) });
  await trainer.run();
  const { peakBytes: measuredBytes, whyNoGraph } = trainer;
  trainer.dispose();
  if (whyNoGraph !== undefined) throw new Error(`the last step was no graph: ${whyNoGraph}`);
  return { predictedBytes: estimateStep(settings, backend).peakBytes, measuredBytes };
}
