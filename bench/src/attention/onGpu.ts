import type { RecallOptions } from "@revnet-zero/attention";
import { startPytorch } from "../pytorch.ts";
import { median, timeColumns } from "../statistics.ts";
import { Subject } from "../subject.ts";
import type { BenchContext, Row, SuiteResult } from "../suite.ts";
import { ratio } from "../tasks/contest.ts";
import { growthOf, type Measured } from "./growth.ts";

export interface GpuRequest {
  readonly tokens: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly dim: number;
  readonly leafSize: number;
  readonly extendLevels: boolean;
  readonly recall?: RecallOptions;
}
export interface GpuAnswer {
  readonly timeMs: number;
  readonly forwardMs: number;
  readonly peakBytes: number;
  readonly keysPerQuery: number;
}

const size = { heads: 16, keyHeads: 16, dim: 64, dtype: "bf16" } as const;
const FLASH = "PyTorch flash";
/** Levels [4, 16, 64, 256], or as many as the sequence asks for, above leaves of so many tokens. */
const ways = {
  "hierarchical, 4 levels": { leafSize: 64, extendLevels: false },
  hierarchical: { leafSize: 64, extendLevels: true },
  "hierarchical, leaves of 32": { leafSize: 32, extendLevels: true },
  "hierarchical, leaves of 32, recall": { leafSize: 32, extendLevels: true, recall: { topK: 4, level: 3 } },
} as const;
/** Repeats by length: exact attention to a million tokens takes most of a minute. */
const repeats = { full: { 16384: 7, 131072: 7, 1048576: 1 }, quick: { 1024: 1 } } as const;

interface Contestant {
  readonly mechanism: string;
  readonly subject: Subject;
  readonly request: object;
}

/** Hierarchical attention beside PyTorch's flash attention, causal, forward and backward, in turn. */
export async function attentionOnGpu({ isQuick, backend, log }: BenchContext): Promise<SuiteResult> {
  const ours = Subject.node("attention", new URL("./onGpuSubject.ts", import.meta.url));
  const flash = await startPytorch("pytorch_flash.py", { ...size, tokens: 1024 });
  const contestants: Contestant[] = Object.entries(ways).map(([mechanism, way]) => ({
    ...{ mechanism, subject: ours, request: { ...size, ...way } },
  }));
  if (typeof flash === "string") log(`  no PyTorch: ${flash}`);
  else contestants.push({ mechanism: FLASH, subject: flash, request: size });
  const rows: Row[] = [];
  const measured: Measured[] = [];
  try {
    for (const [length, times] of Object.entries(isQuick ? repeats.quick : repeats.full)) {
      const tokens = Number(length);
      const found = new Map(contestants.map(({ mechanism }) => [mechanism, [] as GpuAnswer[]]));
      for (let n = 0; n < times; n++)
        for (const { mechanism, subject, request } of contestants)
          found.get(mechanism)!.push(await subject.ask<GpuAnswer>({ ...request, tokens }));
      for (const [mechanism, answers] of found) {
        const timesMs = answers.map((a) => a.timeMs);
        const forwardMs = median(answers.map((a) => a.forwardMs));
        const { keysPerQuery, peakBytes } = answers[0]!;
        const bytesPerToken = peakBytes / tokens;
        measured.push({ mechanism, tokens, times: timesMs, bytesPerToken });
        rows.push({
          ...{ backend, ...size, mechanism, tokens, keysPerQuery, bytesPerToken, forwardMs },
          ...timeColumns(timesMs),
        });
        log(`  ${mechanism}, ${tokens} tokens: ${median(timesMs).toFixed(2)} ms, forward ${forwardMs.toFixed(2)}`);
      }
    }
  } finally {
    await ours.end();
    if (typeof flash !== "string") await flash.end();
  }
  return { settings: { ...size, isCausal: true, ways }, rows, summary: summarise(measured) };
}

function summarise(measured: readonly Measured[]): Record<string, unknown> {
  const of = (name: string): Measured[] => measured.filter((m) => m.mechanism === name);
  const flashOver = (name: string): Record<number, number> =>
    Object.fromEntries(
      of(name).flatMap(({ tokens, times }) => {
        const flash = of(FLASH).find((m) => m.tokens === tokens);
        return flash === undefined ? [] : [[tokens, ratio(flash.times, times)]];
      }),
    );
  const names = [...new Set(measured.map((m) => m.mechanism))];
  return {
    flashOver: Object.fromEntries(Object.keys(ways).map((name) => [name, flashOver(name)])),
    growth: Object.fromEntries(names.filter((n) => of(n).length > 2).map((n) => [n, growthOf(of(n))])),
  };
}
