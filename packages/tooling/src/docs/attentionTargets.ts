import type { AttentionSummary } from "./attentionTables.ts";
import { figure, percent, type Report } from "./report.ts";

const summaryOf = ({ summary }: Report): AttentionSummary => summary as unknown as AttentionSummary;

/** What attention for long sequences was asked for on processors. */
export const attentionTargets = [
  {
    suite: "attention",
    what: "tiled attention over the unfused composition, forward and backward, from 1,024 tokens on",
    asked: "2×",
    reached: (report: Report): string =>
      Object.entries(summaryOf(report).tiledOverUnfused ?? {})
        .map(([tokens, ratio]) => `${Number(tokens).toLocaleString("en")} tokens: ${figure(ratio)}×`)
        .join(", "),
  },
  {
    suite: "attention",
    what: "its memory: bytes a token",
    asked: "as many at every length",
    reached: (report: Report): string => {
      const { to, bytesPerToken } = summaryOf(report).growth.tiled!;
      return `${bytesPerToken.map(figure).join(" to ")}, up to ${to.toLocaleString("en")} tokens`;
    },
  },
  {
    suite: "attention",
    what: "hierarchical attention over tiled, 65,536 tokens",
    asked: "20×",
    reached: (report: Report): string => `${figure(summaryOf(report).hierarchicalOverTiled?.[65536] ?? Number.NaN)}×`,
  },
  {
    suite: "attention",
    what: "its time a token as a line over log2 n: n log n",
    asked: "a line",
    reached: (report: Report): string => {
      const { nanosecondsPerToken, from, to } = summaryOf(report).growth.hierarchical!;
      const { perDoubling, deviation } = nanosecondsPerToken;
      const line = `${figure(perDoubling)} ns a doubling`;
      return `${line}; from ${from.toLocaleString("en")} to ${to.toLocaleString("en")} tokens at most ${percent(deviation)} off`;
    },
  },
] as const;
