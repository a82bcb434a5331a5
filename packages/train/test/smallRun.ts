import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CpuBackend } from "@revnet-zero/backend-cpu";
import { encodeBytes } from "@revnet-zero/data";
import { CheckpointStore } from "@revnet-zero/io";
import { Engine, type Tensor, toWords } from "@revnet-zero/tensor";
import { onTestFinished } from "vitest";
import { defaultConfig, type TrainConfig } from "../src/config.ts";
import { Trainer, type TrainerOptions } from "../src/trainer.ts";

/** Changes to a configuration, section by section. */
export type Changes = { readonly [S in keyof TrainConfig]?: Partial<TrainConfig[S]> };

/** Some text, about 4 kB, that a model can learn a little of in a few steps. */
export const text: Uint8Array = encodeBytes(
  Array.from({ length: 80 }, (_, i) => `${i}: the whale that swam ${i * i} miles. `).join(""),
);

/** A model of two layers that takes a few milliseconds a step, over the defaults. */
export function smallConfig(changes: Changes = {}): TrainConfig {
  const small: Changes = {
    model: { numLayers: 2, dModel: 8, numHeads: 2, maxSeqLen: 16 },
    train: {
      steps: 6,
      batchSize: 2,
      sequenceLength: 8,
      evalEvery: 0,
      evalBatches: 2,
      checkpointEvery: 0,
      sampleEvery: 0,
      sampleLength: 4,
    },
    optimizer: { learningRate: 0.01 },
    schedule: { warmupSteps: 2 },
  };
  const sections = Object.entries(defaultConfig).map(([name, section]) => {
    const key = name as keyof TrainConfig;
    return [key, { ...section, ...small[key], ...changes[key] }];
  });
  return Object.fromEntries(sections);
}

/** A trainer on an engine of its own. */
export function smallTrainer(changes: Changes = {}, options: Partial<TrainerOptions> = {}): Trainer {
  return new Trainer({ config: smallConfig(changes), engine: new Engine(new CpuBackend()), text, ...options });
}

/** A folder that the test's end removes. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "revnet-train-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

export async function temporaryStore(keepLast = 3): Promise<CheckpointStore> {
  return CheckpointStore.open(join(await temporaryFolder(), "checkpoints"), { keepLast });
}

/** Tensors as integers that are equal only where every bit is. */
export async function bitsOf(tensors: ReadonlyMap<string, Tensor>): Promise<Record<string, string>> {
  const bits: Record<string, string> = {};
  for (const [name, t] of tensors) {
    const words = toWords(await t.data(), t.dtype);
    const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    bits[name] = Buffer.from(bytes).toString("hex");
  }
  return bits;
}

/** Everything that must be equal for two runs to be one: weights, optimizer state, losses. */
export async function stateOf(trainer: Trainer): Promise<Record<string, unknown>> {
  const { tensors, ...optimizer } = trainer.optimizer.stateDict();
  return {
    step: trainer.step,
    model: await bitsOf(trainer.model.stateDict()),
    optimizer: { ...optimizer, tensors: await bitsOf(tensors) },
    history: trainer.history,
  };
}
