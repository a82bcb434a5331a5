import { setTimeout } from "node:timers/promises";
import type { TrainingBackend } from "../backends.ts";
import { median, timeColumns } from "../statistics.ts";
import { SETTLE_MS, Subject } from "../subject.ts";
import type { Row, Suite } from "../suite.ts";
import type { BuildAnswer, MemoryAnswer, StepAnswer, TuneAnswer } from "../trainee.ts";
import { duels, examplesOf, type StepMode, sizeOf, stepBuild, stepModels, stepModes } from "./configuration.ts";
import { type Peer, type Size, stepPeers } from "./peers.ts";

const warmUpSteps = 3;
/** A peer whose step takes longer than this makes few of them. */
const PATIENCE_MS = 3000;
const FEW = 3;

/** How the contestants of a backend take turns. */
interface Turns {
  readonly repeats: number;
  /** Short steps are made several in a row, as training makes them: one alone finds sleeping threads, cold caches, an idle device. */
  readonly burstMs: number;
  readonly mostSteps: number;
  /** Steps in a row are one request, and only the last one's loss is read: the host asks for the next while the device works. */
  readonly isBurstOneRequest: boolean;
  /** Whether all are there at once; otherwise each peer with ours that it is compared with, since memory holds no more. */
  readonly isOneGroup: boolean;
  /** Whether kernels are chosen by measuring them first. */
  readonly isTuned: boolean;
}

const turnsOf: { readonly [B in TrainingBackend]: Turns } = {
  cpu: { repeats: 15, burstMs: 240, mostSteps: 20, isBurstOneRequest: false, isOneGroup: true, isTuned: false },
  cuda: { repeats: 8, burstMs: 600, mostSteps: 40, isBurstOneRequest: true, isOneGroup: false, isTuned: true },
};

/** Something that makes training steps when asked. */
interface Contestant {
  readonly impl: string;
  readonly mode: string;
  readonly subject: Subject;
  readonly hasReport: boolean;
  /** Of a peer: which of ours it is compared with. */
  readonly against?: StepMode;
}

interface Measured extends Contestant {
  readonly timesMs: number[];
}

interface PeerOf extends Peer {
  readonly impl: string;
  readonly mode: string;
}

/** Training steps of whole models, ours and the peers', step by step in turn. */
export const step: Suite = {
  about: "tokens a second of whole training steps, against PyTorch and, on the CPU, JavaScript libraries",
  backends: ["cpu", "cuda"],
  run: async ({ isQuick, peers, log, ...context }) => {
    const backend = context.backend as TrainingBackend;
    const turns = turnsOf[backend];
    const rows: Row[] = [];
    const ratios: Record<string, unknown> = {};
    for (const [model, full] of Object.entries(stepModels[backend])) {
      const size = sizeOf(full, isQuick);
      const invited = Object.entries(stepPeers[backend])
        .filter(([impl]) => peers?.includes(impl) ?? true)
        .flatMap(([impl, modes]) => Object.entries(modes).map(([mode, peer]): PeerOf => ({ impl, mode, ...peer })))
        .flatMap((peer) => meeting(peer, model))
        .filter(({ mode }) => !(isQuick && mode.startsWith("compiled"))); // half a minute
      if (turns.isTuned) await tune(size, backend, log);
      const found: Record<string, number> = {};
      for (const { modes, guests } of groupsOf(size, invited, turns)) {
        const { contestants, threads } = await ours(size, modes, backend);
        for (const { impl, mode, start, against } of guests) {
          const subject = await start(size, threads);
          if (typeof subject !== "string")
            contestants.push({ impl, mode, subject, against, hasReport: backend === "cuda" });
          else {
            rows.push({ impl, model, mode, skipped: subject });
            log(`  skipped ${impl}, ${mode}: ${subject}`);
          }
        }
        const measured = await inTurn(contestants, { ...turns, ...(isQuick ? { repeats: 2 } : {}) });
        for (const one of measured) {
          const row = await rowOf(one, size, { model, device: backend, threads });
          await one.subject.end();
          // Ours of a later group are there to be compared with.
          if (rows.some((r) => r.model === model && r.impl === row.impl && r.mode === row.mode)) continue;
          rows.push(row);
          log(
            `  ${model}, ${one.impl}, ${one.mode}: ${Math.round(Number(row.tokensPerSecond ?? row.examplesPerSecond))}`,
          );
        }
        Object.assign(found, ratiosOf(measured));
      }
      ratios[model] = found;
    }
    const { isTuned } = turns;
    return {
      settings: { models: stepModels[backend], warmUpSteps, optimizer: "adamw", isTuned },
      rows,
      summary: ratios,
    };
  },
};

/** The peer as it meets a model, or nothing. */
function meeting(peer: PeerOf, model: string): PeerOf[] {
  const against = model in duels ? duels[model]![peer.mode] : peer.against;
  return against === undefined ? [] : [{ ...peer, against }];
}

/** Times the kernels that may serve a block of the model; who starts afterwards uses the best. */
async function tune(size: Size, backend: TrainingBackend, log: (line: string) => void): Promise<void> {
  if ("widths" in size) return;
  for (const mode of ["ordinary", "reversible-exact"] as const) {
    const subject = Subject.node(`tuning ${mode}`, new URL("../trainee.ts", import.meta.url));
    await subject.ask<BuildAnswer>(stepBuild({ ...size, numLayers: 1 }, mode, backend));
    await subject.ask<StepAnswer>({ step: 0 });
    const { problems, changed } = await subject.ask<TuneAnswer>({ tune: true });
    log(`  tuned ${mode}: ${problems} problems, ${changed} of them another kernel than the first`);
    await subject.end();
  }
}

const allModes = Object.keys(stepModes) as StepMode[];

/** Who is there together. */
function groupsOf(
  size: Size,
  invited: readonly PeerOf[],
  { isOneGroup }: Turns,
): { readonly modes: readonly StepMode[]; readonly guests: readonly PeerOf[] }[] {
  if ("widths" in size) return [{ modes: ["ordinary"], guests: invited }];
  if (isOneGroup) return [{ modes: allModes, guests: invited }];
  const hasOrdinary = invited.some(({ against }) => against === "ordinary");
  return [
    { modes: ["stored", "reversible-exact"], guests: [] },
    ...invited.map((peer) => ({ modes: [peer.against], guests: [peer] })),
    ...(hasOrdinary ? [] : [{ modes: ["ordinary" as const], guests: [] }]),
  ];
}

/** Ours in some modes, built. */
async function ours(
  size: Size,
  modes: readonly StepMode[],
  backend: TrainingBackend,
): Promise<{ contestants: Contestant[]; threads: number }> {
  if ("widths" in size) {
    const subject = Subject.node("revnet-zero", new URL("./mlp.ts", import.meta.url));
    const { threads } = await subject.ask<BuildAnswer>({ build: size });
    return { contestants: [{ impl: "revnet-zero", mode: "ordinary", subject, hasReport: false }], threads };
  }
  const contestants: Contestant[] = [];
  let threads = 1;
  for (const mode of modes) {
    const subject = Subject.node(`revnet-zero ${mode}`, new URL("../trainee.ts", import.meta.url));
    ({ threads } = await subject.ask<BuildAnswer>(stepBuild(size, mode, backend)));
    contestants.push({ impl: "revnet-zero", mode, subject, hasReport: true });
  }
  return { contestants, threads };
}

async function inTurn(
  contestants: readonly Contestant[],
  { repeats, burstMs, mostSteps, isBurstOneRequest }: Turns,
): Promise<Measured[]> {
  const measured = contestants.map((one): Measured => ({ ...one, timesMs: [] }));
  const nextSteps = contestants.map(() => 0);
  const bursts = contestants.map(() => 1);
  const isSlow = contestants.map(() => false);
  for (let turn = 0; turn < warmUpSteps + repeats; turn++) {
    for (const [i, { subject, timesMs }] of measured.entries()) {
      if (isSlow[i] && timesMs.length >= FEW) continue;
      await setTimeout(SETTLE_MS);
      const burst = bursts[i]!;
      const requests = isBurstOneRequest ? [burst] : Array.from({ length: burst }, () => 1);
      let totalMs = 0;
      for (const [n, count] of requests.entries()) {
        totalMs += (await subject.ask<StepAnswer>({ step: nextSteps[i]!, count, goesOn: n > 0 })).timeMs;
        nextSteps[i]! += count;
      }
      const timeMs = totalMs / burst;
      isSlow[i] = timeMs > PATIENCE_MS;
      if (turn >= warmUpSteps || isSlow[i]) timesMs.push(timeMs);
      if (turn > 0) bursts[i] = Math.min(mostSteps, Math.max(1, Math.round(burstMs / timeMs)));
    }
  }
  return measured;
}

async function rowOf(
  { impl, mode, timesMs, subject, hasReport }: Measured,
  size: Size,
  { threads, ...shared }: { readonly model: string; readonly device: TrainingBackend; readonly threads: number },
): Promise<Row> {
  const time = timeColumns(timesMs);
  const memory = hasReport
    ? await subject.ask<Pick<MemoryAnswer, "peakBytes" | "whyNoGraph">>({ report: true })
    : undefined;
  const isThreaded = impl === "revnet-zero" || impl === "pytorch";
  const dtype = "widths" in size ? "f32" : (size.precision ?? "f32");
  const perSecond = (1000 * examplesOf(size)) / time.timeMs;
  const rate = "widths" in size ? { examplesPerSecond: perSecond } : { tokensPerSecond: perSecond };
  const what = { impl, model: shared.model, mode, device: shared.device, dtype, threads: isThreaded ? threads : 1 };
  const notAGraph = memory?.whyNoGraph === undefined ? {} : { notAGraph: memory.whyNoGraph };
  return { ...what, ...rate, ...time, peakBytes: memory?.peakBytes ?? null, ...notAGraph };
}

/** Speed of ours over each peer's, and the price of reversibility; medians of steps that ran one after the other. */
function ratiosOf(measured: readonly Measured[]): Record<string, number> {
  const times = (mode: string) => measured.find((m) => m.impl === "revnet-zero" && m.mode === mode)?.timesMs;
  const paired = (a: readonly number[], b: readonly number[]): number => median(a.map((t, i) => t / b[i]!));
  const found: Record<string, number> = {};
  const [exact, stored] = [times("reversible-exact"), times("stored")];
  if (exact !== undefined && stored !== undefined) found.exactTimeOverStored = paired(exact, stored);
  for (const { impl, mode, timesMs, against } of measured)
    if (against !== undefined) found[`speedOver ${impl} ${mode}`] = paired(timesMs, times(against)!);
  return found;
}
