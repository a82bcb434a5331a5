import type { AttentionCache } from "@revnet-zero/nn";
import { AutogradError, fromWords, type Tensor, ValueError } from "@revnet-zero/tensor";
import { tiledAttention } from "./attend.ts";
import type { Hierarchical } from "./hierarchical.ts";
import { inScores, numbers } from "./pyramid.ts";

/** What is held of one level: keys and values `[b, hk, rows, ·]` of tokens [start, start + rows · ratio). */
interface Held {
  readonly ratio: number;
  readonly radix: number;
  start: number;
  keys: Tensor;
  values: Tensor;
}

/**
 * What hierarchical attention needs of a sequence to go on: near tokens, and summaries of far ones, folded upward as they fall behind. With
 * r the quotient of ratios it is at most (2 r + 1) · leafSize tokens and 2 r · leafSize summaries a level: O(log n) rows where the ladder
 * is extended. Steps give what the whole sequence would, up to rounding.
 */
export class HierarchicalCache implements AttentionCache {
  readonly #attention: Hierarchical;
  readonly #batch: number;
  readonly #levels: Held[] = [];
  #length = 0;

  constructor(attention: Hierarchical, { batch = 1 }: { readonly batch?: number } = {}) {
    if (!attention.isCausal)
      throw new ValueError("HierarchicalCache", "the attention sees what is to come", "make it with isCausal: true");
    if (attention.recall !== undefined)
      throw new ValueError(
        "HierarchicalCache",
        "recalled tokens are not among the summaries that are kept",
        "generate without a cache, or make the attention without recall",
      );
    this.#attention = attention;
    this.#batch = batch;
  }

  /** Steps seen. */
  get length(): number {
    return this.#length;
  }
  /** Rows held, on all levels: tokens and summaries. */
  get rows(): number {
    return this.#levels.reduce((n, { keys }) => n + keys.shape[2]!, 0);
  }

  attend(q: Tensor, k: Tensor, v: Tensor): Tensor {
    const { engine } = q;
    if (k.shape[0] !== this.#batch)
      throw new ValueError("HierarchicalCache", `is for a batch of ${this.#batch}, got ${k.shape[0]}`, "make another");
    if (k.requiresGrad && engine.recordsGradients) {
      throw new AutogradError(
        "HierarchicalCache",
        "cannot be differentiated through",
        "generate in engine.noGrad(() => …)",
      );
    }
    const time = q.shape[2]!;
    return engine.scope(() => {
      if (this.#length === 0) {
        this.#append(k, v);
        return this.#attention.call(q, k, v);
      }
      const steps = Array.from({ length: time }, (_, i) => {
        const [qi, ki, vi] = [q, k, v].map((x) => x.narrow(2, i, 1)) as [Tensor, Tensor, Tensor];
        this.#append(ki, vi);
        return engine.scope(() => this.#step(qi));
      });
      return steps[0]!.concat(steps.slice(1), 2);
    });
  }

  /** Forgets all steps. */
  clear(): void {
    for (const { keys, values } of this.#levels.splice(0)) {
      keys.dispose();
      values.dispose();
    }
    this.#length = 0;
  }
  dispose(): void {
    this.clear();
  }

  /** What the query of the last step takes from everything held. */
  #step(q: Tensor): Tensor {
    const { levelBias } = this.#attention;
    const all = (of: (level: Held) => Tensor): Tensor => {
      const [first, ...rest] = this.#levels.map(of);
      return rest.length === 0 ? first! : first!.concat(rest, 2);
    };
    const counts = (f: (level: Held, l: number) => number): number[] =>
      this.#levels.flatMap((level, l) => new Array<number>(level.keys.shape[2]!).fill(f(level, l)));
    const shape = [1, 1, this.rows];
    const logs = numbers(
      counts(({ ratio }) => Math.log(ratio)),
      shape,
      inScores(q),
    );
    const bias =
      levelBias === undefined
        ? logs
        : logs.add(
            levelBias
              .cast(logs.dtype)
              .take(fromWords(Int32Array.from(counts((_, l) => l)), [this.rows], "i32", q.engine), 2),
          );
    const [keys, values] = [all((l) => l.keys), all((l) => l.values)];
    return tiledAttention(q, keys, values, { bias: { kind: "key", values: bias } });
  }

  #append(k: Tensor, v: Tensor): void {
    this.#length += k.shape[2]!;
    this.#add(0, k, v);
    const { leafSize } = this.#attention;
    const block = Math.floor((this.#length - 1) / leafSize);
    for (let l = 0; this.#ratio(l + 1) !== undefined; l++) {
      const level = this.#levels[l];
      if (level === undefined) break;
      const next = this.#ratio(l + 1)!;
      const start = leafSize * next * Math.max(0, Math.floor(block / next) - 1);
      const rows = (start - level.start) / level.ratio;
      if (rows > 0) this.#fold(l, rows, next);
    }
  }

  /** Ratio of a level; undefined where the ladder ends before it. */
  #ratio(level: number): number | undefined {
    const { compressionRatios, extendLevels } = this.#attention;
    if (level === 0) return 1;
    const given = compressionRatios[level - 1];
    if (given !== undefined || !extendLevels) return given;
    const [last = 1, before = 1] = [...compressionRatios].reverse();
    const radix = compressionRatios.length === 0 ? 4 : last / before;
    return last * radix ** (level - compressionRatios.length);
  }

  /** The first rows of a level become summaries of the next. */
  #fold(l: number, rows: number, ratio: number): void {
    const level = this.#levels[l]!;
    const { engine } = level.keys;
    const radix = ratio / level.ratio;
    const [keys, values] = engine.scope(() => {
      const groups = (x: Tensor): Tensor => {
        const [b, hk, , d] = x.shape as readonly number[] as [number, number, number, number];
        return x.narrow(2, 0, rows).reshape([b, hk, rows / radix, radix, d]);
      };
      return this.#attention.pool.pool(groups(level.keys), groups(level.values), { counts: undefined, radix });
    });
    this.#add(l + 1, keys, values, { ratio, radix });
    const rest = (x: Tensor): Tensor => engine.keep(x.narrow(2, rows, x.shape[2]! - rows).clone());
    const [restKeys, restValues] = [rest(level.keys), rest(level.values)];
    level.keys.dispose();
    level.values.dispose();
    Object.assign(level, { keys: restKeys, values: restValues, start: level.start + rows * level.ratio });
  }

  #add(l: number, k: Tensor, v: Tensor, size = { ratio: 1, radix: 1 }): void {
    const { engine } = k;
    const level = this.#levels[l];
    if (level === undefined) {
      this.#levels.push({ ...size, start: 0, keys: engine.keep(k.clone()), values: engine.keep(v.clone()) });
      return;
    }
    const [keys, values] = [engine.keep(level.keys.concat([k], 2)), engine.keep(level.values.concat([v], 2))];
    level.keys.dispose();
    level.values.dispose();
    Object.assign(level, { keys, values });
  }
}
