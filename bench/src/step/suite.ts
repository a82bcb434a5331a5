import { startPytorch } from "../pytorch.ts";
import { median, timeColumns } from "../statistics.ts";
import { Subject } from "../subject.ts";
import type { Row, Suite } from "../suite.ts";
import type { BuildAnswer, MemoryAnswer } from "../trainee.ts";
import { type StepMode, type StepModel, sizeOf, stepConfig, stepModels, stepModes } from "./configuration.ts";

const warmUpSteps = 3;
const pytorchModes = ["eager", "compiled"] as const;
type PytorchMode = (typeof pytorchModes)[number];

/** Something that makes training steps when asked. */
interface Contestant {
  readonly impl: string;
  readonly mode: string;
  readonly subject: Subject;
  readonly build: object;
  readonly hasReport: boolean;
}

interface Measured {
  readonly impl: string;
  readonly mode: string;
  readonly timesMs: number[];
}

/** Training steps of whole models, ours and PyTorch's, step by step in turn. */
export const step: Suite = {
  about: "tokens a second of whole training steps, against PyTorch on the CPU",
  run: async ({ isQuick, peers, backend, log }) => {
    const repeats = isQuick ? 2 : 15;
    const rows: Row[] = [];
    const ratios: Record<string, unknown> = {};
    const wantsPytorch = peers === undefined || peers.includes("pytorch");
    for (const model of (isQuick ? ["gpt-2x256"] : Object.keys(stepModels)) as StepModel[]) {
      const skipped: Row[] = [];
      const contestants = ours(model, isQuick);
      const threads = await buildAll(contestants);
      if (wantsPytorch) {
        for (const mode of isQuick ? (["eager"] as const) : pytorchModes) {
          const peer = await pytorchContestant(model, mode, threads, isQuick);
          if (typeof peer === "string") {
            skipped.push({ impl: "pytorch", model, mode, skipped: peer });
            log(`  skipped pytorch, ${mode}: ${peer}`);
          } else contestants.push(peer);
        }
      }
      const measured = await inTurn(contestants, repeats);
      const { batchSize, sequenceLength } = sizeOf(model, isQuick);
      const tokens = batchSize * sequenceLength;
      for (const [i, { impl, mode, timesMs }] of measured.entries()) {
        const time = timeColumns(timesMs);
        const { subject, hasReport } = contestants[i]!;
        const memory = hasReport ? await subject.ask<MemoryAnswer>({ report: true }) : undefined;
        const shared = { impl, model, mode, device: backend, dtype: "f32", threads };
        const tokensPerSecond = (1000 * tokens) / time.timeMs;
        rows.push({ ...shared, tokensPerSecond, ...time, peakBytes: memory?.peakBytes ?? null });
        log(`  ${model}, ${impl}, ${mode}: ${tokensPerSecond.toFixed(0)} tokens/s`);
        subject[Symbol.dispose]();
      }
      rows.push(...skipped);
      ratios[model] = ratiosOf(measured);
    }
    return { settings: { models: stepModels, warmUpSteps, optimizer: "adamw" }, rows, summary: ratios };
  },
};

function ours(model: StepModel, isQuick: boolean): Contestant[] {
  return (Object.keys(stepModes) as StepMode[]).map((mode) => ({
    impl: "revnet-zero",
    mode,
    subject: Subject.node(`revnet-zero ${mode}`, new URL("../trainee.ts", import.meta.url)),
    build: { build: stepConfig(model, mode, isQuick), isOrdinary: mode === "ordinary" },
    hasReport: true,
  }));
}

/** Gives the threads that ours run on. */
async function buildAll(contestants: readonly Contestant[]): Promise<number> {
  const answers = await Promise.all(contestants.map(({ subject, build }) => subject.ask<BuildAnswer>(build)));
  return answers[0]!.threads;
}

async function pytorchContestant(
  model: StepModel,
  mode: PytorchMode,
  threads: number,
  isQuick: boolean,
): Promise<Contestant | string> {
  const build = { build: { ...sizeOf(model, isQuick), vocabSize: 256, mode, threads } };
  const subject = await startPytorch("pytorch_step.py", build);
  if (typeof subject === "string") return subject;
  return { impl: "pytorch", mode, subject, build, hasReport: false };
}

async function inTurn(contestants: readonly Contestant[], repeats: number): Promise<Measured[]> {
  const measured = contestants.map(({ impl, mode }): Measured => ({ impl, mode, timesMs: [] }));
  for (let n = 0; n < warmUpSteps + repeats; n++) {
    for (const [i, { subject }] of contestants.entries()) {
      const { timeMs } = await subject.ask<{ timeMs: number }>({ step: n });
      if (n >= warmUpSteps) measured[i]!.timesMs.push(timeMs);
    }
  }
  return measured;
}

/** Speed of ours over each peer's, and the price of reversibility; medians of steps that ran one after the other. */
function ratiosOf(measured: readonly Measured[]): Record<string, number> {
  const times = (impl: string, mode: string) => measured.find((m) => m.impl === impl && m.mode === mode)!.timesMs;
  const paired = (a: readonly number[], b: readonly number[]): number => median(a.map((t, i) => t / b[i]!));
  const ordinary = times("revnet-zero", "ordinary");
  const found: Record<string, number> = {
    exactTimeOverStored: paired(times("revnet-zero", "reversible-exact"), times("revnet-zero", "stored")),
  };
  for (const { impl, mode, timesMs } of measured)
    if (impl !== "revnet-zero") found[`speedOver ${impl} ${mode}`] = paired(timesMs, ordinary);
  return found;
}
