import { loadText } from "@revnet-zero/data";
import { type Backend, Engine } from "@revnet-zero/tensor";
import { defaultConfig, type Precision, type TrainConfig, Trainer } from "@revnet-zero/train";

/** A training run's losses in nats per byte: of every step, and on held-out text after the last. */
export interface Curve {
  readonly losses: readonly number[];
  readonly heldOutLoss: number;
}

export function novelConfig(steps: number, precision: Precision): TrainConfig {
  const { train, schedule } = defaultConfig;
  const often = { evalEvery: steps, checkpointEvery: 0, sampleEvery: 0 };
  return {
    ...defaultConfig,
    train: { ...train, ...often, steps, precision },
    schedule: { ...schedule, warmupSteps: Math.min(schedule.warmupSteps, steps) },
  };
}

/** The default model trained on the built-in novel. */
export async function trainOnNovel(backend: Backend, steps: number, precision: Precision): Promise<Curve> {
  const config = novelConfig(steps, precision);
  const { bytes } = await loadText(config.data.source);
  const trainer = new Trainer({ config, engine: new Engine(backend), text: bytes });
  await trainer.run();
  const { train, heldOut } = trainer.history;
  trainer.dispose();
  return { losses: train.map(([, loss]) => loss), heldOutLoss: heldOut.at(-1)![1] };
}

/** The largest distance between two curves, and the step it is at. */
export function apart(a: Curve, b: Curve): { readonly most: number; readonly step: number } {
  let [most, step] = [0, 0];
  a.losses.forEach((loss, i) => {
    const difference = Math.abs(loss - b.losses[i]!);
    if (difference > most) [most, step] = [difference, i + 1];
  });
  return { most, step };
}
