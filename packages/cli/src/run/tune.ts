import { CudaBackend } from "@revnet-zero/backend-cuda";
import { loadText } from "@revnet-zero/data";
import { type Backend, Engine } from "@revnet-zero/tensor";
import { type TrainConfig, Trainer } from "@revnet-zero/train";
import type { CommandOptions } from "../commands.ts";
import { configFor } from "../config/configFor.ts";
import type { ConfigOverride } from "../config/loadConfig.ts";
import { type Output, printLine } from "../output.ts";

/** Meets every problem of a training step and an evaluation, then times the kernels that serve each. */
export async function tune(
  options: CommandOptions["tune"],
  overrides: readonly ConfigOverride[],
  output: Output,
): Promise<number> {
  const config = await configFor(options, overrides, output);
  if (config === undefined) return 0;
  const { bytes } = await loadText(config.data.source);
  const backend = new CudaBackend();
  const once: TrainConfig = {
    ...config,
    train: { ...config.train, steps: 1, evalEvery: 1, evalBatches: 1, checkpointEvery: 0, sampleEvery: 0 },
    schedule: { ...config.schedule, warmupSteps: 0 },
  };
  const trainer = new Trainer({ config: once, engine: new Engine(backend as Backend), text: bytes });
  await trainer.run();
  trainer.dispose();
  const { problems, changed, firstMs, bestMs, path } = backend.tune((line) => printLine(output, line));
  const times = `${firstMs.toFixed(3)} ms with the first kernels, ${bestMs.toFixed(3)} ms with the fastest`;
  printLine(
    output,
    `${problems} problems that several kernels serve, ${changed} with another than the first: ${times}`,
  );
  printLine(output, `kept in ${path}; runs that start from now on use it, and go on from checkpoints made with it`);
  return 0;
}
