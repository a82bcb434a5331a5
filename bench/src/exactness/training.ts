import { ByteDataset, loadText } from "@revnet-zero/data";
import { BitComparison } from "@revnet-zero/reversible";
import { type Backend, Engine, type HostData } from "@revnet-zero/tensor";
import {
  applyGradients,
  buildModel,
  buildOptimizer,
  computeGradients,
  defaultConfig,
  runKey,
  type TrainConfig,
} from "@revnet-zero/train";

function trainingConfig(reversibility: "exact" | "store"): TrainConfig {
  const { model, train } = defaultConfig;
  return {
    ...defaultConfig,
    model: { ...model, numLayers: 4, dModel: 32, numHeads: 4, maxSeqLen: 32, dropout: 0.1, reversibility },
    train: { ...train, batchSize: 4, sequenceLength: 32, microBatches: 2 },
  };
}

/** The same AdamW training run on real text with activations rebuilt and with activations stored. */
export async function compareTraining(device: Backend, steps: number): Promise<Record<string, unknown>> {
  const [exact, stored] = [await weightsAfter(device, steps, "exact"), await weightsAfter(device, steps, "store")];
  const comparison = new BitComparison();
  for (const [name, values] of stored.weights) comparison.add(name, exact.weights.get(name)!, values);
  return {
    weightsBitEqualAfterSteps: comparison.isEqual,
    weightsCompared: comparison.elements,
    firstWeightThatDiffers: comparison.firstDifference ?? null,
    firstLoss: exact.firstLoss,
    lastLoss: exact.lastLoss,
  };
}

interface Trained {
  readonly weights: ReadonlyMap<string, HostData>;
  readonly firstLoss: number;
  readonly lastLoss: number;
}

async function weightsAfter(device: Backend, steps: number, mode: "exact" | "store"): Promise<Trained> {
  const config = trainingConfig(mode);
  const { seed, microBatches } = config.train;
  const engine = new Engine(device);
  const model = buildModel(config.model, seed, engine);
  const optimizer = buildOptimizer(model, config.optimizer);
  const data = new ByteDataset((await loadText(config.data.source)).bytes, config.train);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const batches = Array.from({ length: microBatches }, (_, micro) => data.batchAt(step, micro));
    engine.scope(() => {
      const key = runKey(seed, "steps");
      const { loss, factor } = computeGradients(model, batches, { key, step, clipNorm: config.optimizer.clipNorm });
      applyGradients(optimizer, config.optimizer.learningRate, factor);
      losses.push(loss.itemSync());
    });
  }
  const weights = new Map<string, HostData>();
  for (const [name, p] of model.namedParameters()) weights.set(name, await p.data());
  optimizer.dispose();
  model.dispose();
  return { weights, firstLoss: losses[0]!, lastLoss: losses.at(-1)! };
}
