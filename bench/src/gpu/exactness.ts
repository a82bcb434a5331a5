import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { ByteDataset } from "@revnet-zero/data";
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
import { Engine, type HostData, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import {
  applyGradients,
  buildModel,
  buildOptimizer,
  computeGradients,
  defaultConfig,
  recordedPassOf,
  runKey,
  type TrainConfig,
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
  /** Runs forward and backward as CUDA graphs; throws if the last step was not. */
  readonly graph?: boolean;
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
  { onStep, graph = false, ...size }: TrainOptions = {},
): Promise<Trained> {
  const settings = config(reversibility, size);
  const { seed, microBatches } = settings.train;
  const model = buildModel(settings.model, seed, engine);
  const optimizer = buildOptimizer(model, settings.optimizer);
  const data = new ByteDataset(someText(200_000), settings.train);
  const losses: number[] = [];
  const recorded = graph ? recordedPassOf(model, microBatches, { graph }) : undefined;
  const pass = recorded === undefined ? {} : { pass: recorded };
  for (let step = 0; step < steps; step++) {
    const batches = Array.from({ length: microBatches }, (_, micro) => data.batchAt(step, micro));
    engine.scope(() => {
      const { clipNorm, learningRate } = settings.optimizer;
      const { loss, factor } = computeGradients(model, batches, {
        key: runKey(seed, "steps"),
        step,
        clipNorm,
        ...pass,
      });
      applyGradients(optimizer, learningRate, factor);
      losses.push(loss.itemSync());
    });
    onStep?.();
  }
  const whyNot = [recorded?.reason, ...(recorded?.recordings ?? []).map((r) => r.whyNoGraph)].find(
    (w) => w !== undefined,
  );
  if (whyNot !== undefined) throw new Error(`the last step was no graph: ${whyNot}`);
  recorded?.dispose();
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
