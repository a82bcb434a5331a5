import { median, timeColumns } from "../statistics.ts";
import { Subject } from "../subject.ts";
import type { Row, Suite } from "../suite.ts";
import { ratio } from "../tasks/contest.ts";
import { growthOf, type Measured } from "./growth.ts";
import { attentionOnGpu } from "./onGpu.ts";
import { type AttentionAnswer, type MechanismName, size } from "./ways.ts";

/** How far each is taken: what is quadratic ends where a pass takes most of a minute. */
const longest: Readonly<Record<MechanismName, number>> = {
  unfused: 4096,
  tiled: 65_536,
  hierarchical: 262_144,
  "hierarchical, 4 levels": 262_144,
  "hierarchical, recall": 262_144,
  "hierarchical, recall a query": 16_384,
  "window and global": 262_144,
  linear: 262_144,
  "random features": 65_536,
};
const names = Object.keys(longest) as MechanismName[];
const lengths = { full: [1024, 2048, 4096, 16_384, 65_536, 262_144], quick: [128, 256] } as const;

/** So long the repeats of one length may take, for each way. */
const BUDGET_MS = 2500;
const MOST_REPEATS = 9;
/** A pass that takes longer is made once, cold. */
const LONGEST_REPEAT_MS = 10_000;

/** A forward and backward pass of causal attention against the length of the sequence, for every way to attend. */
export const attention: Suite = {
  about: "time and memory of causal attention, forward and backward, against the length of the sequence",
  backends: ["cpu", "cuda"],
  run: async (context) => {
    const { isQuick, backend, log } = context;
    if (backend === "cuda") return attentionOnGpu(context);
    const subject = Subject.node("attention", new URL("./subject.ts", import.meta.url));
    const measured: Measured[] = [];
    const rows: Row[] = [];
    try {
      for (const tokens of isQuick ? lengths.quick : lengths.full) {
        for (const found of await measureLength(subject, tokens, isQuick)) {
          const { mechanism, times, answer } = found;
          const bytesPerToken = answer.peakBytes / tokens;
          measured.push({ mechanism, tokens, times, bytesPerToken });
          const forwardMs = answer.forwardMs;
          const { keysPerQuery } = answer;
          rows.push({
            ...{ backend, dtype: "f32", mechanism, tokens, keysPerQuery, bytesPerToken, forwardMs },
            ...timeColumns(times),
          });
          log(
            `  ${mechanism}, ${tokens} tokens: ${median(times).toFixed(1)} ms, ${bytesPerToken.toFixed(0)} bytes a token`,
          );
        }
      }
    } finally {
      subject[Symbol.dispose]();
    }
    return { settings: { ...size, isCausal: true, longest }, rows, summary: summarise(measured) };
  },
  // What is quadratic would hide the rest of a GPU's lengths.
  chart: (rows) => ({
    title: "Attention, forward and backward",
    xLabel: "tokens",
    yLabel: "nanoseconds a token",
    xLog: true,
    yLog: true,
    series: [...new Set(rows.map((r) => r.mechanism as string))].map((name) => ({
      name,
      points: rows
        .filter((r) => r.mechanism === name)
        .map((r) => ({ x: r.tokens as number, y: (1e6 * (r.timeMs as number)) / (r.tokens as number) })),
    })),
  }),
};

/** All ways of one length in turn, as often as each has time for. */
async function measureLength(subject: Subject, tokens: number, isQuick: boolean) {
  const mechanisms = names.filter((name) => tokens <= longest[name]);
  const found = mechanisms.map((mechanism) => ({
    mechanism,
    times: [] as number[],
    answer: undefined as unknown as AttentionAnswer,
  }));
  const ask = (mechanism: MechanismName) => subject.ask<AttentionAnswer>({ mechanism, tokens });
  const first: number[] = [];
  for (const one of found) {
    one.answer = await ask(one.mechanism);
    first.push(one.answer.timeMs);
  }
  const again = (ms: number): number => (ms > LONGEST_REPEAT_MS ? 0 : Math.max(1, Math.floor(BUDGET_MS / ms)));
  const repeats = first.map((ms) => (isQuick ? 1 : Math.min(MOST_REPEATS, again(ms))));
  for (let n = 0; n < Math.max(1, ...repeats); n++)
    for (const [i, one] of found.entries()) {
      if (n >= repeats[i]!) continue;
      one.answer = await ask(one.mechanism);
      one.times.push(one.answer.timeMs);
    }
  // What takes too long for a second pass has its first.
  for (const [i, one] of found.entries()) if (one.times.length === 0) one.times.push(first[i]!);
  return found;
}

function summarise(measured: readonly Measured[]): Record<string, unknown> {
  const of = (name: MechanismName, tokens?: number): Measured[] =>
    measured.filter((m) => m.mechanism === name && (tokens === undefined || m.tokens === tokens));
  const against = (slow: MechanismName, fast: MechanismName): Record<number, number> =>
    Object.fromEntries(
      of(slow).flatMap(({ tokens, times }) => {
        const other = of(fast, tokens)[0];
        if (other === undefined) return [];
        return [
          [
            tokens,
            times.length === other.times.length ? ratio(times, other.times) : median(times) / median(other.times),
          ],
        ];
      }),
    );
  return {
    tiledOverUnfused: against("unfused", "tiled"),
    hierarchicalOverTiled: against("tiled", "hierarchical"),
    fourLevelsOverTiled: against("tiled", "hierarchical, 4 levels"),
    recallOverHierarchical: against("hierarchical, recall", "hierarchical"),
    growth: Object.fromEntries(names.filter((name) => of(name).length > 2).map((name) => [name, growthOf(of(name))])),
  };
}
