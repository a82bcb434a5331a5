import { CpuBackend } from "@revnet-zero/backend-cpu";
import { ByteDataset, loadText } from "@revnet-zero/data";
import { Transformer } from "@revnet-zero/models";
import { Engine } from "@revnet-zero/tensor";
import {
  applyGradients,
  buildModel,
  buildOptimizer,
  buildSchedule,
  computeGradients,
  evaluate,
  runKey,
} from "@revnet-zero/train";
import { answerRequests } from "../subject.ts";
import { type QualityRequest, qualityConfig } from "./configuration.ts";

// Trains one model to the end and says how well it predicts text it has not seen.

export interface QualityAnswer {
  readonly heldOutBitsPerByte: number;
  readonly trainBitsPerByte: number;
  readonly parameters: number;
  readonly timeMs: number;
}

/** The last so many steps' mean is the training loss. */
const lastSteps = 50;

async function train(request: QualityRequest): Promise<QualityAnswer> {
  const config = qualityConfig(request);
  const { seed, steps, evalBatches } = config.train;
  const engine = new Engine(new CpuBackend());
  const model =
    request.model === "transformer"
      ? new Transformer({ ...config.model, key: runKey(seed, "parameters"), engine })
      : buildModel(config.model, seed, engine);
  const optimizer = buildOptimizer(model, config.optimizer);
  const schedule = buildSchedule(config);
  const data = new ByteDataset((await loadText(config.data.source)).bytes, {
    ...config.train,
    heldOutFraction: config.data.heldOutFraction,
  });
  const losses: number[] = [];
  const start = performance.now();
  for (let step = 0; step < steps; step++) {
    engine.scope(() => {
      const key = runKey(seed, "steps");
      const { clipNorm } = config.optimizer;
      const { loss, factor } = computeGradients(model, [data.batchAt(step)], { key, step, clipNorm });
      applyGradients(optimizer, schedule(step), factor);
      losses.push(loss.itemSync());
    });
  }
  const timeMs = performance.now() - start;
  const last = losses.slice(-lastSteps);
  return {
    heldOutBitsPerByte: (await evaluate(model, data, evalBatches)) / Math.LN2,
    trainBitsPerByte: last.reduce((a, b) => a + b, 0) / last.length / Math.LN2,
    parameters: model.parameterCount(),
    timeMs,
  };
}

await answerRequests(train);
