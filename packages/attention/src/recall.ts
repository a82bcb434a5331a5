import { Module } from "@revnet-zero/nn";
import { arange, fromWords, ops, RUN_WORDS, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { Attended } from "./attend.ts";
import type { Ladder, LadderOptions, Level } from "./ladder.ts";
import type { Pyramid } from "./pyramid.ts";
import { NO_EDGE } from "./tileList.ts";

export interface RecallOptions {
  /** Groups that are recalled at a time. */
  readonly topK: number;
  /** Level whose summaries choose, and whose groups of tokens are recalled: 3, of 64 tokens, where there are so many. */
  readonly level?: number;
  /**
   * Neighbouring queries that share what is recalled: what as many queries, up to the first of them, ask for together, so that none feels a later
   * one. Default 16, what a tensor core takes at once. With 1 every query has what it asks for itself, at several times the cost.
   */
  readonly queriesPerChoice?: number;
}

/** So many scores exist at a time, or a part of the queries' own elements: memory is linear in the sequence. */
const LEAST_SCORES = 2 ** 18;
const QUERY_ELEMENTS_PER_SCORE = 4;

/**
 * The tokens of the groups whose summaries score highest: what coarse summaries lost. Queries choose together, `queriesPerChoice` of them and
 * the heads that share a key head, by their sum: n² / (ratio · queriesPerChoice) scores, from summaries that are at hand. Candidates are
 * groups that lie wholly before the tokens a query sees one by one. What is chosen is remembered (`engine.remember`), so that code that
 * runs again attends to the same tokens.
 * Source: Yuan et al. 2025 (arXiv:2502.11089), section 3.3.2, where the heads of a group choose together. We differ: so do neighbouring queries,
 * and one softmax with the rest.
 */
export class RecallBranch extends Module {
  readonly topK: number;
  readonly level: number;
  readonly queriesPerChoice: number;

  constructor(
    { topK, level = 3, queriesPerChoice = 16 }: RecallOptions,
    ladder: Pick<LadderOptions, "isCausal" | "compressionRatios">,
  ) {
    super();
    const levels = ladder.compressionRatios.length;
    if (ladder.isCausal === false)
      throw new ValueError("RecallBranch", "goes back, and isCausal is false", "leave recall out, or isCausal");
    if (!Number.isInteger(topK) || topK < 1)
      throw new ValueError("RecallBranch", `topK is ${topK}`, "use a positive number of groups, such as 4");
    if (!Number.isInteger(queriesPerChoice) || queriesPerChoice < 1) {
      throw new ValueError(
        "RecallBranch",
        `queriesPerChoice is ${queriesPerChoice}`,
        "use a positive number of queries, such as 16; 1 lets every query choose for itself",
      );
    }
    if (!Number.isInteger(level) || level < 1 || level > levels) {
      throw new ValueError(
        "RecallBranch",
        `level is ${level}, there are levels 1 to ${levels} above the tokens`,
        "choose by one of them: level 2 has groups of 16 tokens",
      );
    }
    this.topK = topK;
    this.level = level;
    this.queriesPerChoice = queriesPerChoice;
  }

  /** What the queries take from recalled tokens; undefined where no query has a candidate. */
  override forward(q: Tensor, k: Tensor, v: Tensor, { keys }: Pyramid, ladder: Ladder): Attended | undefined {
    const { engine } = q;
    const { queriesPerChoice } = this;
    const level = ladder.levels[this.level];
    if (level === undefined) return undefined;
    const candidates = candidatesOf(ladder, level, queriesPerChoice);
    const most = candidates[candidates.length - 1]!;
    if (most === 0) return undefined;
    const topK = Math.min(this.topK, most);
    const summaries = keys.narrow(2, level.offset, most);
    const runs = engine.remember(() =>
      engine.noGrad(() =>
        engine.scope(() => {
          const sums = choosers(q.detach(), k, queriesPerChoice);
          const mostScores = Math.max(LEAST_SCORES, q.size / QUERY_ELEMENTS_PER_SCORE);
          return runsOf(choose(sums, summaries.detach(), candidates, { topK, mostScores }), candidates, level);
        }),
      ),
    );
    const attrs = { scale: 1 / Math.sqrt(q.shape[3]!), blockSize: queriesPerChoice, mostKeys: topK * level.ratio };
    const [output, lse] = q.applyAll(ops.sparseAttention, [q, k, v, runs], attrs);
    return { output: output!, lse: lse! };
  }
}

/** How many groups of the level, from the first on, each choice is among: those before the first token that its queries see one by one. Ascending. */
function candidatesOf({ list }: Ladder, level: Level, queriesPerChoice: number): Int32Array {
  const { queries, blockSize, words, slots } = list;
  return Int32Array.from({ length: Math.ceil(queries / queriesPerChoice) }, (_, i) => {
    const block = Math.floor((i * queriesPerChoice) / blockSize);
    return Math.min(level.rows, Math.floor(words[block * slots * RUN_WORDS]! / level.ratio));
  });
}

/** What chooses: the sums over queries and heads, [b, hk, choices, d]. The first choice, which has no candidate, gets the second's. */
function choosers(q: Tensor, k: Tensor, queriesPerChoice: number): Tensor {
  const [b, h, t, d] = q.shape as readonly number[] as [number, number, number, number];
  const [hk, choices] = [k.shape[1]!, Math.ceil(t / queriesPerChoice)];
  const shared = hk === h ? q : q.reshape([b, hk, h / hk, t, d]).sum(2);
  if (queriesPerChoice === 1) return shared;
  // Of choice i > 0 the queries up to its first one.
  const last = shared.narrow(2, 1, (choices - 1) * queriesPerChoice).clone();
  const sums = last.reshape([b, hk, choices - 1, queriesPerChoice, d]).sum(3);
  return sums.narrow(2, 0, 1).concat([sums], 2);
}

/** The groups [b, hk, choices, topK] whose summaries score highest, of the candidates of each choice; others where there are fewer. */
function choose(
  choosers: Tensor,
  summaries: Tensor,
  candidates: Int32Array,
  { topK, mostScores }: { readonly topK: number; readonly mostScores: number },
): Tensor {
  const { engine } = choosers;
  const [b, hk, choices] = choosers.shape as readonly number[] as [number, number, number];
  const most = summaries.shape[2]!;
  const rows = Math.max(1, Math.floor(mostScores / (b * hk * most)));
  const parts: Tensor[] = [];
  for (let start = 0; start < choices; start += rows) {
    const count = Math.min(rows, choices - start);
    // The last of some choices has the most candidates.
    const among = Math.max(topK, candidates[start + count - 1]!);
    const part = engine.scope(() => {
      const scores = choosers.narrow(2, start, count).matmul(summaries.narrow(2, 0, among).transpose());
      const own = fromWords(candidates.slice(start, start + count), [count, 1], "i32", engine);
      const isCandidate = arange(among, { engine }).less(own);
      return isCandidate.where(scores, Number.NEGATIVE_INFINITY).topk(topK, -1).indices;
    });
    parts.push(part);
  }
  return parts[0]!.concat(parts.slice(1), 2);
}

/** The tokens of chosen groups as runs [b, hk, choices, topK, 4], empty ones for groups that are no candidates. */
function runsOf(chosen: Tensor, candidates: Int32Array, { ratio }: Level): Tensor {
  const first = chosen.mul(ratio);
  const own = fromWords(candidates, [candidates.length, 1], "i32", chosen.engine);
  const end = chosen.less(own).where(first.add(ratio), first);
  const edge = (value: number): Tensor => first.fullOf(first.shape, value);
  const words = [first, end, edge(-NO_EDGE), edge(NO_EDGE)].map((w) => w.unsqueeze(4)) as [Tensor, ...Tensor[]];
  return words[0].concat(words.slice(1), 4);
}

/** Two attentions of the same queries to different keys as one: their outputs by their shares of all weights. */
export function joinAttended(a: Attended, b: Attended): Tensor {
  return a.output.engine.scope(() => {
    const share = b.lse.sub(a.lse).sigmoid().unsqueeze(-1).cast(a.output.dtype);
    return a.output.add(b.output.sub(a.output).mul(share));
  });
}
