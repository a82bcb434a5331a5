import { ByteDataset, loadText } from "@revnet-zero/data";
import type { OptimizerState } from "@revnet-zero/optim";
import { BitComparison } from "@revnet-zero/reversible";
import { type Backend, Engine, type HostData } from "@revnet-zero/tensor";
import {
  applyGradients,
  buildModel,
  buildOptimizer,
  computeGradients,
  defaultConfig,
  fromEntries,
  runKey,
  type TrainConfig,
  toEntries,
} from "@revnet-zero/train";

function trainingConfig(reversibility: "exact" | "store"): TrainConfig {
  const { model, train } = defaultConfig;
  return {
    ...defaultConfig,
    model: { ...model, numLayers: 4, dModel: 32, numHeads: 4, maxSeqLen: 32, dropout: 0.1, reversibility },
    train: { ...train, batchSize: 4, sequenceLength: 32, microBatches: 2 },
  };
}

/**
 * The same AdamW training run on real text with activations stored, and with activations rebuilt: that one goes on twice from a
 * checkpoint of its middle.
 */
export async function compareTraining(device: Backend, steps: number): Promise<Record<string, unknown>> {
  const half = await train(device, "exact", { steps: Math.floor(steps / 2) });
  const exact = await train(device, "exact", { from: half.saved, steps });
  const again = await train(device, "exact", { from: half.saved, steps });
  const stored = await train(device, "store", { steps });
  const [toStored, toAgain] = [compare(exact, stored), compare(exact, again)];
  return {
    weightsBitEqualAfterSteps: toStored.isEqual,
    weightsBitEqualFromOneCheckpoint: toAgain.isEqual,
    weightsCompared: toStored.elements,
    firstWeightThatDiffers: toStored.firstDifference ?? toAgain.firstDifference ?? null,
    firstLoss: half.losses[0],
    lastLoss: exact.losses.at(-1),
  };
}

function compare(found: Trained, expected: Trained): BitComparison {
  const comparison = new BitComparison();
  for (const [name, values] of expected.weights) comparison.add(name, found.weights.get(name)!, values);
  return comparison;
}

type Entries = Awaited<ReturnType<typeof toEntries>>;

/** What a run must be given back to go on. */
interface Saved {
  readonly step: number;
  readonly model: Entries;
  readonly optimizer: Omit<OptimizerState, "tensors">;
  readonly moments: Entries;
}

interface Trained {
  readonly weights: ReadonlyMap<string, HostData>;
  readonly losses: readonly number[];
  readonly saved: Saved;
}

/** Trains up to `steps` in all, from the beginning or from what was saved. */
async function train(
  device: Backend,
  mode: "exact" | "store",
  { from, steps }: { readonly from?: Saved; readonly steps: number },
): Promise<Trained> {
  const config = trainingConfig(mode);
  const { seed, microBatches } = config.train;
  const engine = new Engine(device);
  const model = buildModel(config.model, seed, engine);
  const optimizer = buildOptimizer(model, config.optimizer);
  if (from !== undefined) {
    engine.scope(() => {
      model.loadStateDict(fromEntries(from.model, engine));
      optimizer.loadStateDict({ ...from.optimizer, tensors: fromEntries(from.moments, engine) });
    });
  }
  const data = new ByteDataset((await loadText(config.data.source)).bytes, config.train);
  const losses: number[] = [];
  for (let step = from?.step ?? 0; step < steps; step++) {
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
  const { tensors, ...state } = optimizer.stateDict();
  const saved = {
    ...{ step: steps, model: await toEntries(model.stateDict()) },
    ...{ optimizer: state, moments: await toEntries(tensors) },
  };
  optimizer.dispose();
  model.dispose();
  return { weights, losses, saved };
}
