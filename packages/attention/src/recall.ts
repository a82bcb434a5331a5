import { Module } from "@revnet-zero/nn";
import { arange, fromWords, ops, RUN_WORDS, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { Attended } from "./attend.ts";
import type { Ladder, LadderOptions, Level } from "./ladder.ts";
import type { Pyramid } from "./pyramid.ts";
import { NO_EDGE } from "./tileList.ts";

export interface RecallOptions {
  /** Groups that each query recalls. */
  readonly topK: number;
  /** Level whose summaries choose, and whose groups of tokens are recalled: 3, of 64 tokens, where there are so many. */
  readonly level?: number;
}

/** Elements of scores that choosing makes at a time. */
const MOST_SCORES = 2 ** 22;

/**
 * The tokens of the groups whose summaries score highest, chosen for every query and key head: what coarse summaries lost. Candidates are groups
 * that lie wholly before the tokens a query sees one by one; choosing costs a score a query and candidate, n² / ratio with a small
 * constant. What is chosen is remembered (`engine.remember`), so that code that runs again attends to the same tokens.
 * Source: Yuan et al. 2025 (arXiv:2502.11089), section 3.3.2, with the choice a query. We differ: one softmax with the rest.
 */
export class RecallBranch extends Module {
  readonly topK: number;
  readonly level: number;

  constructor({ topK, level = 3 }: RecallOptions, ladder: Pick<LadderOptions, "isCausal" | "compressionRatios">) {
    super();
    const levels = ladder.compressionRatios.length;
    if (ladder.isCausal === false)
      throw new ValueError("RecallBranch", "goes back, and isCausal is false", "leave recall out, or isCausal");
    if (!Number.isInteger(topK) || topK < 1)
      throw new ValueError("RecallBranch", `topK is ${topK}`, "use a positive number of groups, such as 4");
    if (!Number.isInteger(level) || level < 1 || level > levels) {
      throw new ValueError(
        "RecallBranch",
        `level is ${level}, there are levels 1 to ${levels} above the tokens`,
        "choose by one of them: level 2 has groups of 16 tokens",
      );
    }
    this.topK = topK;
    this.level = level;
  }

  /** What the queries take from recalled tokens; undefined where no query has a candidate. */
  override forward(q: Tensor, k: Tensor, v: Tensor, { keys }: Pyramid, ladder: Ladder): Attended | undefined {
    const { engine } = q;
    const length = q.shape[2]!;
    const level = ladder.levels[this.level];
    const candidates = candidatesOf(ladder, level, length);
    if (level === undefined || candidates.most === 0) return undefined;
    const topK = Math.min(this.topK, candidates.most);
    const summaries = keys.narrow(2, level.offset, candidates.most);
    const runs = engine.remember(() =>
      engine.noGrad(() => engine.scope(() => choose(q.detach(), summaries.detach(), level, candidates, topK))),
    );
    const attrs = { scale: 1 / Math.sqrt(q.shape[3]!), blockSize: 1, mostKeys: topK * level.ratio };
    const [output, lse] = q.applyAll(ops.sparseAttention, [q, k, v, runs], attrs);
    return { output: output!, lse: lse! };
  }
}

interface Candidates {
  /** Groups from the first on that the queries of each block may recall. */
  readonly counts: Int32Array;
  readonly most: number;
  readonly blockSize: number;
}

/** Groups of a level that lie before the first token that the block's list shows one by one. */
function candidatesOf({ list }: Ladder, level: Level | undefined, length: number): Candidates {
  const { blocks, blockSize, words, slots } = list;
  const counts = Int32Array.from({ length: blocks }, (_, i) =>
    level === undefined
      ? 0
      : Math.min(Math.floor(words[i * slots * RUN_WORDS]! / level.ratio), Math.floor(length / level.ratio)),
  );
  return { counts, most: counts.reduce((a, b) => Math.max(a, b), 0), blockSize };
}

/** Runs [b, hk, t, topK, 4] of the tokens of the best groups; empty ones where there are fewer candidates. */
function choose(q: Tensor, summaries: Tensor, { ratio }: Level, candidates: Candidates, topK: number): Tensor {
  const { engine } = q;
  const [b, h, t, d] = q.shape as readonly number[] as [number, number, number, number];
  const hk = summaries.shape[1]!;
  const { counts, most, blockSize } = candidates;
  const ofQuery = Int32Array.from({ length: t }, (_, i) => counts[Math.floor(i / blockSize)]!);
  const allowed = fromWords(ofQuery, [t, 1], "i32", engine);
  const group = arange(most, { engine });
  const rows = Math.max(1, Math.floor(MOST_SCORES / (b * hk * most)));
  const parts: Tensor[] = [];
  for (let start = 0; start < t; start += rows) {
    const count = Math.min(rows, t - start);
    const part = engine.scope(() => {
      const queries = q
        .narrow(2, start, count)
        .reshape([b, hk, h / hk, count, d])
        .sum(2); // [b, hk, count, d]
      const scores = queries.matmul(summaries.transpose());
      const own = allowed.narrow(0, start, count);
      const { indices } = group.less(own).where(scores, Number.NEGATIVE_INFINITY).topk(topK, -1);
      const first = indices.mul(ratio);
      const end = indices.less(own).where(first.add(ratio), first);
      const edge = (value: number): Tensor => first.fullOf(first.shape, value);
      const words = [first, end, edge(-NO_EDGE), edge(NO_EDGE)].map((w) => w.unsqueeze(4)) as [Tensor, ...Tensor[]];
      return words[0].concat(words.slice(1), 4);
    });
    parts.push(part);
  }
  return parts[0]!.concat(parts.slice(1), 2);
}

/** Two attentions of the same queries to different keys as one: their outputs by their shares of all weights. */
export function joinAttended(a: Attended, b: Attended): Tensor {
  return a.output.engine.scope(() => {
    const share = b.lse.sub(a.lse).sigmoid().unsqueeze(-1).cast(a.output.dtype);
    return a.output.add(b.output.sub(a.output).mul(share));
  });
}
