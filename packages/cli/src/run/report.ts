import { access, constants, mkdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { bigramCrossEntropy, unigramCrossEntropy } from "@revnet-zero/data";
import { writeFileAtomic } from "@revnet-zero/io";
import { type LossCurves, type ReportData, renderReport, type Trainer } from "@revnet-zero/train";
import { UsageError } from "../usageError.ts";
import { version } from "../version.ts";
import type { ProgressResult } from "./session.ts";

const bits = ([x, nats]: readonly [number, number]): { readonly x: number; readonly y: number } => ({
  x,
  y: nats / Math.LN2,
});

/** Makes the folder of a report, so that a path that cannot be written to is refused before hours of training. */
export async function prepareReport(path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await access(dirname(path), constants.W_OK);
  } catch (error) {
    const problem = `${path} cannot be written (${(error as Error).message})`;
    throw new UsageError("--report", problem, "choose a path that this user may write to", { cause: error });
  }
  const present = await stat(path).catch(() => undefined);
  if (present?.isDirectory()) throw new UsageError("--report", `${path} is a folder`, "name a file, like report.html");
}

/** What counting in the training part alone predicts of the whole held-out part; nothing where no part is held out. */
export function countingBits({ data }: Trainer): Pick<LossCurves, "unigramBits" | "bigramBits"> {
  const { train, heldOut, heldOutWindows } = data;
  if (heldOutWindows === 0) return {};
  return { unigramBits: unigramCrossEntropy(train, heldOut), bigramBits: bigramCrossEntropy(train, heldOut) };
}

/** Writes the HTML report of a run and gives its path. Sections without data are left out of the page. */
export async function writeReport(
  trainer: Trainer,
  { stepsDone, timeMs }: Pick<ProgressResult, "stepsDone" | "timeMs">,
  extra: Partial<Pick<ReportData, "title" | "memory" | "exactness" | "sample">>,
  path: string = join(trainer.config.output.dir, "report.html"),
): Promise<string> {
  const { batchSize, sequenceLength, microBatches } = trainer.config.train;
  const { history, model, peakBytes, config, engine } = trainer;
  const data: ReportData = {
    title: "Exact reversible training",
    createdAt: new Date().toISOString().slice(0, 16).replace("T", " "),
    run: {
      steps: stepsDone,
      durationMs: timeMs,
      tokensPerSecond: (stepsDone * batchSize * sequenceLength * microBatches * 1000) / timeMs,
      parameters: model.parameterCount(),
      peakBytes,
    },
    loss: {
      train: history.train.map(bits),
      heldOut: history.heldOut.map(bits),
      ...countingBits(trainer),
    },
    config,
    environment: {
      "RevNet-Zero": version(),
      Node: process.versions.node,
      platform: `${process.platform} ${process.arch}`,
      backend: engine.backend.name,
    },
    ...extra,
  };
  await writeFileAtomic(path, renderReport(data));
  return path;
}
