import type { ByteBatch } from "@revnet-zero/data";
import { Engine } from "@revnet-zero/tensor";
import { buildModel, runKey } from "./build.ts";
import type { ModelConfig, TrainConfig } from "./config.ts";
import { computeGradients } from "./step.ts";

/**
 * Peak activation bytes of one real forward and backward pass of a model of this configuration, on an engine of its
 * own: what the ledger counted, not an estimate.
 */
export function measureActivationBytes(
  config: TrainConfig,
  reversibility: ModelConfig["reversibility"],
  batch: ByteBatch,
  backend: Engine["backend"],
): number {
  const engine = new Engine(backend);
  const { seed, precision } = config.train;
  const model = buildModel({ ...config.model, reversibility }, seed, engine);
  engine.ledger.resetPeak();
  engine.scope(() => {
    const { clipNorm } = config.optimizer;
    computeGradients(model, [batch], { key: runKey(seed, "steps"), step: 0, clipNorm, precision });
  });
  const { activationBytes } = engine.memory();
  model.dispose();
  return activationBytes;
}
