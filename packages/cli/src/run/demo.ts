import { formatBytes, formatDuration, groupDigits } from "@revnet-zero/plot";
import {
  buildModel,
  estimateStep,
  measureActivationBytes,
  proveExactness,
  runKey,
  type TrainConfig,
  type Trainer,
} from "@revnet-zero/train";
import type { CommandOptions } from "../commands.ts";
import { type ConfigOverride, parseConfig } from "../config/loadConfig.ts";
import { formatTable, type Output, printLine, printText } from "../output.ts";
import { yesNo } from "./check.ts";
import { countingBits, writeReport } from "./report.ts";
import { comparePeaks, openSession, printResult, runWithProgress } from "./session.ts";

/** A model that learns visibly in about two minutes on two cores. Flags come after, so that they win. */
const demoValues: readonly (readonly [string, unknown])[] = [
  ["model.numLayers", 6],
  ["model.dModel", 128],
  ["model.maxSeqLen", 128],
  ["train.sequenceLength", 128],
  ["train.batchSize", 8],
  ["train.steps", 400],
  ["train.evalEvery", 50],
  ["train.evalBatches", 8],
  ["train.checkpointEvery", 200],
  ["train.sampleEvery", 0],
  ["train.logEvery", 25],
  ["optimizer.learningRate", 0.003],
  ["schedule.warmupSteps", 40],
  ["output.dir", "runs/demo"],
];
const quickValues: readonly (readonly [string, unknown])[] = [
  ["model.numLayers", 2],
  ["model.dModel", 32],
  ["model.maxSeqLen", 64],
  ["train.sequenceLength", 64],
  ["train.steps", 40],
  ["train.evalEvery", 20],
];
const DEPTHS = [4, 8, 16];
const SAMPLE_BYTES = 300;

function demoConfig({ quick = false, out }: CommandOptions["demo"], overrides: readonly ConfigOverride[]): TrainConfig {
  const values = [
    ...demoValues,
    ...(quick ? quickValues : []),
    ...(out === undefined ? [] : [["output.dir", out] as const]),
  ];
  return parseConfig("", "demo", [...values.map(([key, value]) => ({ key, value, flag: key })), ...overrides]);
}

const bitsOf = (nats: number): string => (nats / Math.LN2).toFixed(3);

/** Trains on Moby-Dick, then shows what is special: bit-equal gradients, and memory that does not grow with depth. */
export async function demo(
  options: CommandOptions["demo"],
  overrides: readonly ConfigOverride[],
  output: Output,
): Promise<number> {
  const config = demoConfig(options, overrides);
  const { trainer, text, engine } = await openSession(config, "any");
  const { numLayers, dModel } = config.model;
  const print = (line = ""): void => printLine(output, line);
  print(
    `Training on ${text.name} (${groupDigits(text.bytes.length)} bytes): ${groupDigits(trainer.model.parameterCount())} parameters, ${numLayers} reversible layers of width ${dModel}`,
  );
  const before = await trainer.evaluate();
  const predicted = estimateStep(config, engine.backend).peakBytes;
  const result = await runWithProgress(trainer, output);
  if (result.isInterrupted) {
    printResult(output, result);
    return 130;
  }
  const after = await trainer.evaluate();
  const { unigramBits, bigramBits } = countingBits(trainer);

  print();
  print(`Learned in ${formatDuration(result.timeMs)}, bits per byte of held-out text`);
  print(`  before ${bitsOf(before)}, after ${bitsOf(after)}`);
  if (bigramBits !== undefined && unigramBits !== undefined) {
    print(
      `  yardstick: ${bigramBits.toFixed(3)} by byte pairs, ${unigramBits.toFixed(3)} by single bytes (counted in the training part, add-one, cross-entropy on the held-out part)`,
    );
  }
  print(`  ${comparePeaks(predicted, trainer)}`);

  const proofs = await proofRows(trainer);
  print();
  print("Exact: against stored backpropagation of the same network on a live batch, bit by bit");
  for (const p of proofs) {
    print(
      `  ${p.name}: reconstruction equal ${yesNo(p.isReconstructionBitEqual)}, gradients equal ${yesNo(p.isGradientBitEqual)} (${groupDigits(p.elementsCompared)} numbers)`,
    );
  }

  const points = memoryPoints(trainer);
  print();
  print("Flat: peak activation memory of one training step, measured");
  const rows = points.map((p) => [
    `  ${p.depth} layers`,
    formatBytes(p.storedBytes),
    formatBytes(p.reversibleBytes),
    `${(p.storedBytes / p.reversibleBytes).toFixed(1)}x less`,
  ]);
  for (const line of formatTable([["  depth", "stored", "reversible", ""], ...rows])) print(line);

  const sample = {
    prompt: "The ",
    text: await trainer.sample("The ", SAMPLE_BYTES),
    note: `step ${trainer.step}, temperature 0.8`,
  };
  print();
  print("It writes:");
  printText(output, `  ${(sample.prompt + sample.text).replaceAll("\n", "\n  ")}`);

  const note = `One forward and backward pass, ${config.train.batchSize} sequences of ${config.train.sequenceLength} bytes, width ${dModel}.`;
  const report = await writeReport(trainer, result, {
    memory: { points, note },
    exactness: {
      rows: proofs,
      note: "Every rebuilt stream element and every parameter gradient, against stored backpropagation of the same trained network.",
    },
    sample,
  });
  print();
  printResult(output, result);
  print(`report: ${report}`);
  return proofs.every((p) => p.isReconstructionBitEqual && p.isGradientBitEqual) ? 0 : 1;
}

interface ProofRow {
  readonly name: string;
  readonly isReconstructionBitEqual: boolean;
  readonly isGradientBitEqual: boolean;
  readonly elementsCompared: number;
}

/** The trained weights on the next batch they would see, without and with dropout. */
async function proofRows({ model, step, config, data, engine }: Trainer): Promise<ProofRow[]> {
  const { seed } = config.train;
  const rows: ProofRow[] = [];
  for (const dropout of [...new Set([config.model.dropout, 0.1])]) {
    const twin = buildModel({ ...config.model, dropout }, seed, engine);
    twin.loadStateDict(model.stateDict());
    const proof = await proveExactness(twin, data.batchAt(step), runKey(seed, "steps"));
    rows.push({ name: `${config.model.numLayers} layers, dropout ${dropout}`, ...proof });
    twin.dispose();
  }
  return rows;
}

function memoryPoints({
  config,
  data,
  engine,
}: Trainer): { depth: number; storedBytes: number; reversibleBytes: number }[] {
  return DEPTHS.map((depth) => {
    const deep = { ...config, model: { ...config.model, numLayers: depth } };
    const measure = (mode: "store" | "exact"): number =>
      measureActivationBytes(deep, mode, data.batchAt(0), engine.backend);
    return { depth, storedBytes: measure("store"), reversibleBytes: measure("exact") };
  });
}
