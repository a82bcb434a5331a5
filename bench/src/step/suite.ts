import { setTimeout } from "node:timers/promises";
import { avx2Environment, startPytorch } from "../pytorch.ts";
import { median, timeColumns } from "../statistics.ts";
import { SETTLE_MS, Subject } from "../subject.ts";
import type { Row, Suite } from "../suite.ts";
import type { BuildAnswer, MemoryAnswer } from "../trainee.ts";
import {
  examplesOf,
  type GptSize,
  type MlpSize,
  type StepMode,
  type StepModel,
  sizeOf,
  stepConfig,
  stepModels,
  stepModes,
} from "./configuration.ts";

const warmUpSteps = 3;
/** Short steps are made several in a row, as training makes them: one alone finds sleeping threads and cold caches. */
const BURST_MS = 240;
const MOST_STEPS = 20;
/** A peer whose step takes longer than this makes few of them. */
const PATIENCE_MS = 3000;
const FEW = 3;

/** Something that makes training steps when asked. */
interface Contestant {
  readonly impl: string;
  readonly mode: string;
  readonly subject: Subject;
  readonly hasReport?: boolean;
}

interface Measured {
  readonly impl: string;
  readonly mode: string;
  readonly timesMs: number[];
}

type Size = GptSize | MlpSize;
type Start = (size: Size, threads: number) => Promise<Subject | string>;

const inPytorch =
  (mode: "eager" | "compiled", env?: NodeJS.ProcessEnv): Start =>
  (size, threads) =>
    startPytorch("pytorch_step.py", { build: { ...size, vocabSize: 256, mode, threads } }, env);
const inNode =
  (name: string, file: string): Start =>
  async (build) => {
    const subject = Subject.node(name, new URL(file, import.meta.url));
    try {
      await subject.ask({ build });
      // What it cannot do shows in a step.
      await subject.ask({ step: 0 });
      return subject;
    } catch (error) {
      return (error as Error).message;
    }
  };

/** By library, then by mode. Those on WebAssembly have no threads in Node. */
const peersOfStep: { readonly [impl: string]: { readonly [mode: string]: Start } } = {
  pytorch: {
    eager: inPytorch("eager"),
    compiled: inPytorch("compiled"),
    // Not compiled: PyTorch 2.13 then answers NaN.
    "eager, AVX2 alone": inPytorch("eager", avx2Environment),
  },
  "jax-js": { jit: inNode("jax-js", "./jax.ts") },
  "tfjs-wasm": { eager: inNode("tfjs-wasm", "./tfjs.ts") },
};

/** Training steps of whole models, ours and the peers', step by step in turn. */
export const step: Suite = {
  about: "tokens a second of whole training steps, against PyTorch on the CPU and JavaScript libraries",
  run: async ({ isQuick, peers, backend, log }) => {
    const repeats = isQuick ? 2 : 15;
    const rows: Row[] = [];
    const ratios: Record<string, unknown> = {};
    for (const model of Object.keys(stepModels) as StepModel[]) {
      const size = sizeOf(model, isQuick);
      const { contestants, threads } = await ours(size);
      for (const [impl, modes] of Object.entries(peersOfStep)) {
        if (!(peers?.includes(impl) ?? true)) continue;
        for (const [mode, start] of Object.entries(modes)) {
          if (isQuick && mode.startsWith("compiled")) continue; // half a minute
          const subject = await start(size, threads);
          if (typeof subject !== "string") contestants.push({ impl, mode, subject });
          else {
            rows.push({ impl, model, mode, skipped: subject });
            log(`  skipped ${impl}, ${mode}: ${subject}`);
          }
        }
      }
      const measured = await inTurn(contestants, repeats);
      for (const [i, { impl, mode, timesMs }] of measured.entries()) {
        const time = timeColumns(timesMs);
        const { subject, hasReport } = contestants[i]!;
        const memory = hasReport ? await subject.ask<MemoryAnswer>({ report: true }) : undefined;
        const isThreaded = impl === "revnet-zero" || impl === "pytorch";
        const shared = { impl, model, mode, device: backend, dtype: "f32", threads: isThreaded ? threads : 1 };
        const perSecond = (1000 * examplesOf(size)) / time.timeMs;
        const rate = "widths" in size ? { examplesPerSecond: perSecond } : { tokensPerSecond: perSecond };
        rows.push({ ...shared, ...rate, ...time, peakBytes: memory?.peakBytes ?? null });
        log(`  ${model}, ${impl}, ${mode}: ${perSecond.toFixed(0)} ${Object.keys(rate)[0]}`);
        subject[Symbol.dispose]();
      }
      ratios[model] = ratiosOf(measured);
    }
    return { settings: { models: stepModels, warmUpSteps, optimizer: "adamw" }, rows, summary: ratios };
  },
};

/** Ours in every mode the model has, built. */
async function ours(size: Size): Promise<{ contestants: Contestant[]; threads: number }> {
  if ("widths" in size) {
    const subject = Subject.node("revnet-zero", new URL("./mlp.ts", import.meta.url));
    const { threads } = await subject.ask<BuildAnswer>({ build: size });
    return { contestants: [{ impl: "revnet-zero", mode: "ordinary", subject }], threads };
  }
  const contestants: Contestant[] = [];
  let threads = 1;
  for (const mode of Object.keys(stepModes) as StepMode[]) {
    const subject = Subject.node(`revnet-zero ${mode}`, new URL("../trainee.ts", import.meta.url));
    const build = { build: stepConfig(size, mode), isOrdinary: mode === "ordinary" };
    ({ threads } = await subject.ask<BuildAnswer>(build));
    contestants.push({ impl: "revnet-zero", mode, subject, hasReport: true });
  }
  return { contestants, threads };
}

async function inTurn(contestants: readonly Contestant[], repeats: number): Promise<Measured[]> {
  const measured = contestants.map(({ impl, mode }): Measured => ({ impl, mode, timesMs: [] }));
  const nextSteps = contestants.map(() => 0);
  const bursts = contestants.map(() => 1);
  const isSlow = contestants.map(() => false);
  for (let turn = 0; turn < warmUpSteps + repeats; turn++) {
    for (const [i, { subject }] of contestants.entries()) {
      const timesMs = measured[i]!.timesMs;
      if (isSlow[i] && timesMs.length >= FEW) continue;
      await setTimeout(SETTLE_MS);
      let totalMs = 0;
      for (let n = 0; n < bursts[i]!; n++)
        totalMs += (await subject.ask<{ timeMs: number }>({ step: nextSteps[i]!++, goesOn: n > 0 })).timeMs;
      const timeMs = totalMs / bursts[i]!;
      isSlow[i] = timeMs > PATIENCE_MS;
      if (turn >= warmUpSteps || isSlow[i]) timesMs.push(timeMs);
      if (turn > 0) bursts[i] = Math.min(MOST_STEPS, Math.max(1, Math.round(BURST_MS / timeMs)));
    }
  }
  return measured;
}

/** Speed of ours over each peer's, and the price of reversibility; medians of steps that ran one after the other. */
function ratiosOf(measured: readonly Measured[]): Record<string, number> {
  const times = (mode: string) => measured.find((m) => m.impl === "revnet-zero" && m.mode === mode)?.timesMs;
  const paired = (a: readonly number[], b: readonly number[]): number => median(a.map((t, i) => t / b[i]!));
  const ordinary = times("ordinary")!;
  const found: Record<string, number> = {};
  const [exact, stored] = [times("reversible-exact"), times("stored")];
  if (exact !== undefined && stored !== undefined) found.exactTimeOverStored = paired(exact, stored);
  for (const { impl, mode, timesMs } of measured)
    if (impl !== "revnet-zero") found[`speedOver ${impl} ${mode}`] = paired(timesMs, ordinary);
  return found;
}
