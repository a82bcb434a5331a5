import type { Tensor } from "../tensor/tensor.ts";
import { biasSteps, type SparseAttentionAttrs } from "./attentionList.ts";

// sparseAttention from simpler ops: the keys of every block of queries are gathered, some blocks at a time, so that no more than
// `MOST_GATHERED` elements of them exist at once and memory stays linear in the sequence. 16-bit operands are computed with in float32.

export interface SparseOperands {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly runs: Tensor;
  readonly bias: Tensor | undefined;
  readonly attrs: SparseAttentionAttrs;
}

/** What backward is given besides. */
export interface SparseResults {
  readonly o: Tensor;
  readonly lse: Tensor;
  readonly g: Tensor;
  readonly ofLse: Tensor;
}

const MOST_GATHERED = 2 ** 24;

interface Sizes {
  readonly b: number;
  readonly h: number;
  readonly t: number;
  readonly d: number;
  readonly hk: number;
  readonly group: number;
  readonly s: number;
  readonly e: number;
  readonly blocks: number;
}

function sizesOf({ q, k, v, attrs }: SparseOperands): Sizes {
  const [b, h, t, d] = q.shape as readonly number[] as [number, number, number, number];
  const hk = k.shape[1]!;
  return { b, h, t, d, hk, group: h / hk, s: k.shape[2]!, e: v.shape[3]!, blocks: Math.ceil(t / attrs.blockSize) };
}

/** Some blocks of queries: [first, first + count). */
interface Part {
  readonly first: number;
  readonly count: number;
}

function partsOf({ b, hk, d, e, group, blocks }: Sizes, { blockSize, mostKeys }: SparseAttentionAttrs): Part[] {
  const each = b * hk * mostKeys * (d + e + group * blockSize);
  const most = Math.max(1, Math.floor(MOST_GATHERED / each));
  return Array.from({ length: Math.ceil(blocks / most) }, (_, i) => ({
    first: i * most,
    count: Math.min(most, blocks - i * most),
  }));
}

const isDouble = ({ dtype }: Tensor): boolean => dtype === "f64";
/** In the type that sums are made in. */
const wide = (x: Tensor): Tensor => (isDouble(x) ? x : x.cast("f32"));

/** Rows [b, h, t, n] of some blocks: [b, hk, group, count, blockSize, n], rows past the end as `value`. */
function blocksOf(
  x: Tensor,
  { first, count }: Part,
  sizes: Sizes,
  { blockSize }: SparseAttentionAttrs,
  value = 0,
): Tensor {
  const { b, hk, group, t } = sizes;
  const start = first * blockSize;
  const rows = Math.min(t - start, count * blockSize);
  const some = wide(x.narrow(2, start, rows));
  const missing = count * blockSize - rows;
  const whole =
    missing === 0
      ? some
      : some.pad(
          [
            [0, 0],
            [0, 0],
            [0, missing],
            [0, 0],
          ],
          value,
        );
  return whole.reshape([b, hk, group, count, blockSize, x.shape[3]!]);
}

/** The inverse, without the rows past the end: [b, h, rows, n]. */
function rowsOf(x: Tensor, { first, count }: Part, { b, h, t }: Sizes, { blockSize }: SparseAttentionAttrs): Tensor {
  const rows = Math.min(t - first * blockSize, count * blockSize);
  return x.reshape([b, h, count * blockSize, x.shape[5]!]).narrow(2, 0, rows);
}

/** The keys of some blocks, run after run in `mostKeys` places: which, and whether each query of the block sees them. */
interface Seen {
  /** Key numbers [lb, lh, count, mostKeys], of some key where a place is empty. */
  readonly key: Tensor;
  /** [lb, lh, count, blockSize, mostKeys] */
  readonly isSeen: Tensor;
}

function seenBy({ runs, attrs }: SparseOperands, { first, count }: Part, { s }: Sizes): Seen {
  const words = runs
    .narrow(2, first, count)
    .split(4, 4)
    .map((w) => w.squeeze(4)) as [Tensor, Tensor, Tensor, Tensor];
  const [from, to] = words.slice(0, 2).map((w) => w.maximum(0).minimum(s)) as [Tensor, Tensor];
  const [low, high] = words.slice(2) as [Tensor, Tensor];
  const size = to.sub(from).maximum(0);
  const ends = size.cumsum(-1);
  const place = runs.rangeOf(attrs.mostKeys, "i32");
  const slots = runs.shape[3]!;
  // The run of a place: as many runs end at or before it.
  const run = ends
    .unsqueeze(-1)
    .lessEqual(place)
    .cast("i32")
    .sum(-2)
    .minimum(slots - 1); // [lb, lh, count, mostKeys]
  const ofRun = (x: Tensor): Tensor => x.takeAlong(run, -1);
  const isThere = place.less(ends.narrow(-1, slots - 1, 1));
  const key = place
    .add(ofRun(from.sub(ends).add(size)))
    .minimum(s - 1)
    .maximum(0);
  const row = runs.rangeOf(attrs.blockSize, "i32").unsqueeze(1); // [blockSize, 1]
  const [k, l, u] = [key, ofRun(low), ofRun(high)].map((x) => x.unsqueeze(-2)) as [Tensor, Tensor, Tensor];
  const isSeen = isThere.unsqueeze(-2).logicalAnd(k.greaterEqual(l.add(row)).logicalAnd(k.less(u.add(row))));
  return { key, isSeen };
}

/** Places of the keys in `[b · hk · s]` rows: [b, hk, count, mostKeys]. */
function flatKeys({ key }: Seen, { b, hk, s }: Sizes): Tensor {
  const head = key.rangeOf(b * hk, "i32").mul(s);
  return key.add(head.reshape([b, hk, 1, 1]));
}

/** Rows at flat places: [b, hk, 1, count, mostKeys, n]. */
const gather = (x: Tensor, places: Tensor, { b, hk, s }: Sizes): Tensor =>
  wide(x.reshape([b * hk * s, x.shape[3]!]).take(places, 0)).unsqueeze(2);

/** Places in the flat bias, for heads as they are stored or all of them: [b|1, hk|1, group|1, count, blockSize|1, mostKeys]. */
function biasPlaces(
  of: SparseOperands,
  { key }: Seen,
  part: Part,
  sizes: Sizes,
  [bb, bh]: readonly [number, number],
): Tensor {
  const { t, s, hk, group } = sizes;
  const { size, query, key: step, first } = biasSteps(of.attrs.bias!, t, s);
  const head = key.rangeOf(bb * bh, "i32").mul(size);
  const heads = head.reshape(bh === 1 ? [bb, 1, 1, 1, 1, 1] : [bb, hk, group, 1, 1, 1]);
  const ofKey = key.mul(step).add(first).unsqueeze(2).unsqueeze(-2).add(heads);
  if (query === 0) return ofKey;
  const { blockSize } = of.attrs;
  const rows = key
    .rangeOf(part.count * blockSize, "i32")
    .add(part.first * blockSize)
    .minimum(t - 1)
    .mul(query);
  return ofKey.add(rows.reshape([part.count, blockSize, 1]));
}

interface Gathered {
  readonly q: Tensor;
  readonly keys: Tensor;
  readonly values: Tensor;
  /** [b, hk, group, count, blockSize, mostKeys], -inf where a query does not see the key. */
  readonly scores: Tensor;
  readonly places: Tensor;
  readonly seen: Seen;
}

function gathered(of: SparseOperands, part: Part, sizes: Sizes): Gathered {
  const { attrs, bias } = of;
  const seen = seenBy(of, part, sizes);
  const places = flatKeys(seen, sizes);
  const q = blocksOf(of.q, part, sizes, attrs);
  const [keys, values] = [gather(of.k, places, sizes), gather(of.v, places, sizes)];
  let scores = q.matmul(keys.transpose()).mul(attrs.scale);
  if (bias !== undefined) {
    const at = biasPlaces(of, seen, part, sizes, [bias.shape[0]!, bias.shape[1]!]);
    scores = scores.add(bias.flatten().take(at, 0));
  }
  return { q, keys, values, places, seen, scores: seen.isSeen.unsqueeze(2).where(scores, Number.NEGATIVE_INFINITY) };
}

/** Joins what every part gives, along the time. */
const along = (parts: readonly Tensor[], axis: number): Tensor => parts[0]!.concat(parts.slice(1), axis);

/** Output [b, h, t, e] and log-sum-exp [b, h, t]. */
export function attend(of: SparseOperands): Tensor[] {
  const sizes = sizesOf(of);
  const { attrs, q } = of;
  const results = partsOf(sizes, attrs).map((part) =>
    q.engine.scope(() => {
      const { scores, values } = gathered(of, part, sizes);
      const top = scores.detach().max(-1, { keepDims: true });
      const isNothing = top.equal(Number.NEGATIVE_INFINITY);
      const shift = isNothing.where(0, top);
      const weights = scores.sub(shift).exp();
      const sum = weights.sum(-1, { keepDims: true });
      const total = isNothing.where(1, sum);
      const lse = isNothing.where(Number.NEGATIVE_INFINITY, total.log().add(shift));
      const out = weights.div(total).matmul(values);
      return [rowsOf(out, part, sizes, attrs).cast(q.dtype), rowsOf(lse, part, sizes, attrs)];
    }),
  );
  const lse = along(
    results.map(([, l]) => l!),
    2,
  );
  return [
    along(
      results.map(([o]) => o!),
      2,
    ),
    lse.reshape([sizes.b, sizes.h, sizes.t]),
  ];
}

/** Gradients by q, k, v, and by a bias of all heads. */
export function pull(of: SparseOperands, { o, lse, g, ofLse }: SparseResults, needsBias: boolean): Tensor[] {
  const sizes = sizesOf(of);
  const { b, h, hk, s, t, d, e } = sizes;
  const { attrs, q } = of;
  const size = needsBias && attrs.bias !== undefined ? biasSteps(attrs.bias, t, s).size : 0;
  const results = partsOf(sizes, attrs).map((part) =>
    q.engine.scope(() => {
      const { scores, q: queries, keys, values, places, seen } = gathered(of, part, sizes);
      const [gs, os] = [g, o].map((x) => blocksOf(x, part, sizes, attrs)) as [Tensor, Tensor];
      // Rows past the end and queries that see nothing have no weights.
      const stored = blocksOf(lse.unsqueeze(-1), part, sizes, attrs, Number.NEGATIVE_INFINITY);
      const shift = stored.equal(Number.NEGATIVE_INFINITY).where(Number.POSITIVE_INFINITY, stored);
      const delta = gs
        .mul(os)
        .sum(-1, { keepDims: true })
        .sub(blocksOf(ofLse.unsqueeze(-1), part, sizes, attrs));
      const weights = scores.sub(shift).exp();
      const slopes = weights.mul(gs.matmul(values.transpose()).sub(delta));
      const dq = rowsOf(slopes.matmul(keys).mul(attrs.scale), part, sizes, attrs).cast(q.dtype);
      const spread = (rows: Tensor, n: number): Tensor =>
        rows
          .sum(2)
          .scatterAdd(places, 0, b * hk * s)
          .reshape([b, hk, s, n]);
      const dk = spread(slopes.transpose().matmul(queries).mul(attrs.scale), d);
      const dv = spread(weights.transpose().matmul(gs), e);
      if (size === 0) return [dq, dk, dv];
      const at = biasPlaces(of, seen, part, sizes, [b, h]);
      const ofScores = at.shape[4] === 1 ? slopes.sum(4, { keepDims: true }) : slopes;
      return [dq, dk, dv, ofScores.scatterAdd(at.expand(ofScores.shape), 0, b * h * size)];
    }),
  );
  const summed = (i: number): Tensor => results.map((r) => r[i]!).reduce((x, y) => x.add(y));
  const dq = along(
    results.map((r) => r[0]!),
    2,
  );
  const db = size === 0 ? lse.fullOf([b, h, 0], 0) : summed(3).reshape([b, h, size]);
  return [dq, summed(1).cast(q.dtype), summed(2).cast(q.dtype), db];
}
