import { CpuBackend } from "@revnet-zero/backend-cpu";
import { CudaBackend } from "@revnet-zero/backend-cuda";
import { loadText, type TextSource } from "@revnet-zero/data";
import { type Checkpoint, CheckpointStore } from "@revnet-zero/io";
import { formatBytes } from "@revnet-zero/plot";
import { type Backend, Engine, readEnvironment, setDefaultEngine } from "@revnet-zero/tensor";
import { ProgressBar, type StepEvent, type TrainConfig, Trainer, type TrainResult } from "@revnet-zero/train";
import type { DeviceName } from "../commands.ts";
import { type Output, printLine } from "../output.ts";
import { UsageError } from "../usageError.ts";

const backends: { readonly [D in DeviceName]: () => Backend } = {
  cpu: () => new CpuBackend(),
  cuda: () => new CudaBackend() as Backend,
};

/** The engine commands compute on: what `--device` names, else REVNET_DEVICE. */
export function openEngine(device: DeviceName = readEnvironment("REVNET_DEVICE") as DeviceName): Engine {
  const engine = new Engine(backends[device]());
  setDefaultEngine(engine);
  return engine;
}

export interface Session {
  readonly engine: Engine;
  readonly text: TextSource;
  readonly trainer: Trainer;
  readonly store: CheckpointStore;
}

/** How a run stands to the checkpoints that are in its folder: it goes on from the latest, or there are none, or never mind them. */
type Start = "resume" | "new" | "any";

/** Everything a training run needs, checked before anything is computed. */
export async function openSession(config: TrainConfig, start: Start, device?: DeviceName): Promise<Session> {
  const text = await loadText(config.data.source);
  const store = await CheckpointStore.open(config.output.dir, { keepLast: config.train.keepLast });
  const checkpoint: Checkpoint | undefined = start === "resume" ? await store.load("latest") : undefined;
  const earlier = start === "new" ? await store.latest() : undefined;
  if (earlier !== undefined) {
    // Two runs in one folder: the earlier one's later steps would be what is resumed and sampled.
    const problem = `there is a run in ${store.dir} already, its latest checkpoint of step ${earlier.step}`;
    throw new UsageError("train", problem, "go on with it by --resume, or give this one a folder by --output.dir");
  }
  const engine = openEngine(device);
  const trainer = new Trainer({
    config,
    engine,
    text: text.bytes,
    store,
    ...(checkpoint === undefined ? {} : { resume: checkpoint }),
  });
  return { engine, text, trainer, store };
}

export interface ProgressResult extends TrainResult {
  /** Of this process: a resumed run did more before. */
  readonly stepsDone: number;
  readonly timeMs: number;
}

/** Runs a trainer under a progress bar; SIGINT and SIGTERM save and stop, a second one quits at once. */
export async function runWithProgress(trainer: Trainer, output: Output): Promise<ProgressResult> {
  const { steps, logEvery } = trainer.config.train;
  const bar = new ProgressBar(output.error, { everySteps: logEvery });
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130);
    bar.log("stopping: saving a checkpoint after this step (again to quit at once)");
    controller.abort();
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  let heldOutLoss: number | undefined;
  trainer.on("step", (e: StepEvent) => {
    bar.update({ ...e, totalSteps: steps, ...(heldOutLoss === undefined ? {} : { heldOutLoss }) });
  });
  trainer.on("evaluation", (e) => {
    heldOutLoss = e.heldOutLoss;
  });
  trainer.on("sample", ({ step, prompt, text }) => bar.log(`step ${step}: ${JSON.stringify(prompt + text)}`));
  trainer.on("warning", ({ step, message }) => bar.log(`warning at step ${step}: ${message}`));
  const [start, firstStep] = [performance.now(), trainer.step];
  try {
    const result = await trainer.run({ signal: controller.signal });
    return { ...result, stepsDone: trainer.step - firstStep, timeMs: performance.now() - start };
  } finally {
    bar.finish();
    process.off("SIGINT", stop);
    process.off("SIGTERM", stop);
  }
}

/** `predicted 5.75 MiB, measured 5.75 MiB (equal to the byte)`. */
export function comparePeaks(predicted: number, { peakBytes: measured, step }: Trainer): string {
  const difference = step === 1 ? "the first step makes the optimizer's state" : `${measured - predicted} bytes apart`;
  const verdict = predicted === measured ? "equal to the byte" : difference;
  return `peak memory: predicted ${formatBytes(predicted)}, measured ${formatBytes(measured)} (${verdict})`;
}

export function printResult(output: Output, { step, isInterrupted, checkpoint }: TrainResult): void {
  if (isInterrupted) printLine(output, `stopped at step ${step}; go on with --resume`);
  if (checkpoint !== undefined) printLine(output, `checkpoint: ${checkpoint.path}`);
}
