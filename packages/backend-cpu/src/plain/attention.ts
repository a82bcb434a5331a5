import type { FusedKernels, TypedArray } from "@revnet-zero/tensor";
import { type Floats, floatsIn, floatsOut } from "./floats.ts";
import { microkernel, TILE, tile } from "./microkernel.ts";
import { grown, type Lines, pack, padded } from "./panels.ts";

type Kernels = Required<Pick<FusedKernels<TypedArray>, "attention" | "attentionBackward">>;
type Attrs = Parameters<Kernels["attention"]["run"]>[2];

/** Sizes of one call: heads, queries t, keys s, width d of queries and keys, width e of values. */
interface Sizes {
  readonly batch: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly t: number;
  readonly s: number;
  readonly d: number;
  readonly e: number;
}

function sizesOf(q: readonly number[], k: readonly number[], v: readonly number[]): Sizes {
  return { batch: q[0]!, heads: q[1]!, keyHeads: k[1]!, t: q[2]!, s: k[2]!, d: q[3]!, e: v[3]! };
}

/** The keys [from, to) that query i sees. */
function visible(i: number, { t, s }: Sizes, { isCausal, window }: Attrs): readonly [number, number] {
  if (!isCausal) return [0, s];
  const to = Math.max(0, Math.min(s, i + s - t + 1));
  return [window === undefined ? 0 : Math.max(0, to - window), to];
}

/** Rows of a `[count, k]` matrix as lines, and its columns as lines. */
const rowsAt = (start: number, count: number, k: number): Lines => ({ start, count, lineStep: k, k, kStep: 1 });
const columnsAt = (start: number, rows: number, columns: number): Lines => ({
  start,
  count: columns,
  lineStep: 1,
  k: rows,
  kStep: columns,
});

/** A panel buffer by name, kept between calls. */
class Panels {
  #values: Float64Array = new Float64Array(0);
  fill(source: Floats, lines: Lines): Float64Array {
    this.#values = grown(this.#values, padded(lines.count) * lines.k);
    pack(this.#values, source, lines);
    return this.#values;
  }
}
const [queries, keys, values, keyColumns, gradients] = [
  new Panels(),
  new Panels(),
  new Panels(),
  new Panels(),
  new Panels(),
];

/**
 * The scores of query rows [i, i + 4): key j's four at [4j, 4j + 4) of `out`, -inf where a row does not see the key.
 * Gives the range of keys that any of the rows sees, its start rounded down to a panel.
 */
function scoreBlock(
  out: Float64Array,
  q: Float64Array,
  k: Float64Array,
  i: number,
  sizes: Sizes,
  attrs: Attrs,
): readonly [number, number] {
  const { t, d } = sizes;
  const last = Math.min(i + TILE, t) - 1;
  const first = Math.floor(visible(i, sizes, attrs)[0] / TILE) * TILE;
  const [, end] = visible(last, sizes, attrs);
  for (let j = first; j < end; j += TILE) {
    microkernel(d, q, i * d, k, j * d);
    for (let c = 0; c < TILE; c++)
      for (let r = 0; r < TILE; r++) out[(j + c) * TILE + r] = tile[r * TILE + c]! * attrs.scale;
  }
  for (let r = 0; r < TILE; r++) {
    const [from, to] = i + r < t ? visible(i + r, sizes, attrs) : [0, 0];
    for (let j = first; j < from; j++) out[j * TILE + r] = Number.NEGATIVE_INFINITY;
    for (let j = Math.max(first, to); j < end; j++) out[j * TILE + r] = Number.NEGATIVE_INFINITY;
  }
  return [first, end];
}

/** Query heads in order, with the flat numbers of the query head and of the key head it shares. */
function eachHead({ batch, heads, keyHeads }: Sizes, f: (head: number, keyHead: number) => void): void {
  for (let n = 0; n < batch; n++)
    for (let h = 0; h < heads; h++) f(n * heads + h, n * keyHeads + Math.floor(h / (heads / keyHeads)));
}

/**
 * Four query rows at a time through the packed micro-kernel; their scores are the only workspace (4 · s doubles).
 * Float64 inside, keys in ascending order.
 */
export const attentionKernels: Kernels = {
  attention: {
    inputs: "contiguous",
    run: ([q, k, v], [o, lse], attrs) => {
      const sizes = sizesOf(q!.shape, k!.shape, v!.shape);
      const { t, s, d, e } = sizes;
      const [Q, K, V] = [floatsIn(q!), floatsIn(k!), floatsIn(v!)];
      const weights = new Float64Array(padded(s) * TILE);
      const totals = new Float64Array(TILE);
      floatsOut(o!, (out) =>
        floatsOut(lse!, (lses) =>
          eachHead(sizes, (head, keyHead) => {
            const qPanels = queries.fill(Q, rowsAt(head * t * d, t, d));
            const kPanels = keys.fill(K, rowsAt(keyHead * s * d, s, d));
            const vPanels = values.fill(V, columnsAt(keyHead * s * e, s, e));
            for (let i = 0; i < t; i += TILE) {
              const [first, end] = scoreBlock(weights, qPanels, kPanels, i, sizes, attrs);
              for (let r = 0; r < TILE && i + r < t; r++) {
                let top = Number.NEGATIVE_INFINITY;
                for (let j = first; j < end; j++) top = Math.max(top, weights[j * TILE + r]!);
                let total = 0;
                for (let j = first; j < end; j++) {
                  const w = Math.exp(weights[j * TILE + r]! - top);
                  weights[j * TILE + r] = w;
                  total += w;
                }
                totals[r] = total;
                lses[head * t + i + r] = Math.log(total) + top;
              }
              for (let c = 0; c < e; c += TILE) {
                microkernel(end - first, weights, first * TILE, vPanels, c * s + first * TILE);
                for (let r = 0; r < TILE && i + r < t; r++)
                  for (let x = 0; x < TILE && c + x < e; x++)
                    out[(head * t + i + r) * e + c + x] = tile[r * TILE + x]! / totals[r]!;
              }
            }
          }),
        ),
      );
    },
  },
  attentionBackward: {
    inputs: "contiguous",
    run: ([q, k, v, o, lse, g], [dq, dk, dv], attrs) => {
      const sizes = sizesOf(q!.shape, k!.shape, v!.shape);
      const { t, s, d, e } = sizes;
      const [Q, K, V] = [floatsIn(q!), floatsIn(k!), floatsIn(v!)];
      const [O, L, G] = [floatsIn(o!), floatsIn(lse!), floatsIn(g!)];
      const keySums = new Float64Array(K.length);
      const valueSums = new Float64Array(V.length);
      const weights = new Float64Array(padded(s) * TILE);
      const slopes = new Float64Array(padded(s) * TILE);
      floatsOut(dq!, (out) =>
        eachHead(sizes, (head, keyHead) => {
          const qPanels = queries.fill(Q, rowsAt(head * t * d, t, d));
          const kPanels = keys.fill(K, rowsAt(keyHead * s * d, s, d));
          const kColumns = keyColumns.fill(K, columnsAt(keyHead * s * d, s, d));
          const vPanels = values.fill(V, rowsAt(keyHead * s * e, s, e));
          const gPanels = gradients.fill(G, rowsAt(head * t * e, t, e));
          for (let i = 0; i < t; i += TILE) {
            const row = head * t + i;
            const rows = Math.min(TILE, t - i);
            const [first, end] = scoreBlock(weights, qPanels, kPanels, i, sizes, attrs);
            for (let j = first; j < end; j += TILE) {
              microkernel(e, gPanels, i * e, vPanels, j * e);
              for (let c = 0; c < TILE; c++)
                for (let r = 0; r < TILE; r++) slopes[(j + c) * TILE + r] = tile[r * TILE + c]!;
            }
            for (let r = 0; r < TILE; r++) {
              let delta = 0;
              if (r < rows) for (let c = 0; c < e; c++) delta += G[(row + r) * e + c]! * O[(row + r) * e + c]!;
              const shift = r < rows ? L[row + r]! : 0;
              for (let j = first; j < end; j++) {
                const at = j * TILE + r;
                const p = Math.exp(weights[at]! - shift);
                weights[at] = p;
                slopes[at] = p * (slopes[at]! - delta) * attrs.scale;
              }
            }
            addOuter(valueSums, keyHead * s, weights, gPanels, i, e, first, end);
            addOuter(keySums, keyHead * s, slopes, qPanels, i, d, first, end);
            for (let c = 0; c < d; c += TILE) {
              microkernel(end - first, slopes, first * TILE, kColumns, c * s + first * TILE);
              for (let r = 0; r < rows; r++)
                for (let x = 0; x < TILE && c + x < d; x++) out[(row + r) * d + c + x] = tile[r * TILE + x]!;
            }
          }
        }),
      );
      floatsOut(dk!, (out) => out.set(keySums));
      floatsOut(dv!, (out) => out.set(valueSums));
    },
  },
};

/** sums[key j] += Σ over the four rows of factor[j, row] · panel[row]: rows that do not exist are zero in the panel. */
function addOuter(
  sums: Float64Array,
  firstRow: number,
  factor: Float64Array,
  panels: Float64Array,
  i: number,
  width: number,
  first: number,
  end: number,
): void {
  const panel = i * width;
  for (let j = first; j < end; j++) {
    const f0 = factor[j * TILE]!;
    const f1 = factor[j * TILE + 1]!;
    const f2 = factor[j * TILE + 2]!;
    const f3 = factor[j * TILE + 3]!;
    const to = (firstRow + j) * width;
    for (let c = 0; c < width; c++) {
      const from = panel + c * TILE;
      sums[to + c]! += f0 * panels[from]! + f1 * panels[from + 1]! + f2 * panels[from + 2]! + f3 * panels[from + 3]!;
    }
  }
}
