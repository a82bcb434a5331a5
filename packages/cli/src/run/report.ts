import { join } from "node:path";
import { bigramEntropy, unigramEntropy } from "@revnet-zero/data";
import { writeFileAtomic } from "@revnet-zero/io";
import { type ReportData, renderReport, type Trainer } from "@revnet-zero/train";
import { version } from "../version.ts";

const bits = ([x, nats]: readonly [number, number]): { readonly x: number; readonly y: number } => ({
  x,
  y: nats / Math.LN2,
});

/** Writes the HTML report of a run and gives its path. Sections without data are left out of the page. */
export async function writeReport(
  trainer: Trainer,
  text: Uint8Array,
  timeMs: number,
  extra: Partial<Pick<ReportData, "title" | "memory" | "exactness" | "sample">>,
  path: string = join(trainer.config.output.dir, "report.html"),
): Promise<string> {
  const { batchSize, sequenceLength, microBatches } = trainer.config.train;
  const { history, step, model, peakBytes, config, engine } = trainer;
  const data: ReportData = {
    title: "Exact reversible training",
    createdAt: new Date().toISOString().slice(0, 16).replace("T", " "),
    run: {
      steps: step,
      durationMs: timeMs,
      tokensPerSecond: (step * batchSize * sequenceLength * microBatches * 1000) / timeMs,
      parameters: model.parameterCount(),
      peakBytes,
    },
    loss: {
      train: history.train.map(bits),
      heldOut: history.heldOut.map(bits),
      unigramBits: unigramEntropy(text),
      bigramBits: bigramEntropy(text),
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
