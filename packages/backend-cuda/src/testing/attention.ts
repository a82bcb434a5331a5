import { Engine, ops, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import type { CudaBackend } from "../backend.ts";
import type { AttentionWay } from "../kernels/attention/choose.ts";

export interface AttentionCase {
  readonly heads: number;
  readonly keyHeads: number;
  readonly t: number;
  readonly s: number;
  readonly d: number;
  readonly e: number;
  readonly isCausal: boolean;
  readonly window?: number;
}

/** More than one tile, ends within tiles, shared heads, windows, heads of every width. */
export const attentionCases: readonly AttentionCase[] = [
  { heads: 2, keyHeads: 1, t: 150, s: 150, d: 64, e: 64, isCausal: true },
  { heads: 1, keyHeads: 1, t: 70, s: 200, d: 64, e: 48, isCausal: true, window: 70 },
  { heads: 1, keyHeads: 1, t: 70, s: 130, d: 40, e: 128, isCausal: false },
  { heads: 2, keyHeads: 2, t: 65, s: 65, d: 33, e: 20, isCausal: true, window: 3 },
];

/** What cuDNN takes, with more batches and heads than one run where scores are long. */
export const graphCases: readonly AttentionCase[] = [
  { heads: 3, keyHeads: 3, t: 192, s: 192, d: 64, e: 64, isCausal: true },
  { heads: 2, keyHeads: 2, t: 100, s: 130, d: 40, e: 40, isCausal: false },
  { heads: 2, keyHeads: 2, t: 1030, s: 1030, d: 128, e: 128, isCausal: true },
];

/** What Hopper's kernels take: several tiles of both sides, ends within them, shared heads, windows, narrow and wide heads. */
export const hopperCases: readonly AttentionCase[] = [
  { heads: 1, keyHeads: 1, t: 300, s: 300, d: 64, e: 64, isCausal: true },
  { heads: 2, keyHeads: 1, t: 70, s: 400, d: 64, e: 48, isCausal: true, window: 150 },
  { heads: 1, keyHeads: 1, t: 130, s: 200, d: 72, e: 128, isCausal: false },
];

/** The same, long: for a device, whose blocks take several tiles each. */
export const longHopperCases: readonly AttentionCase[] = [
  { heads: 24, keyHeads: 24, t: 1024, s: 1024, d: 64, e: 64, isCausal: true },
  { heads: 8, keyHeads: 2, t: 2000, s: 2500, d: 64, e: 64, isCausal: true, window: 700 },
  { heads: 8, keyHeads: 8, t: 3000, s: 2900, d: 128, e: 128, isCausal: false },
  { heads: 8, keyHeads: 4, t: 4100, s: 4100, d: 128, e: 80, isCausal: true },
];

/** How attention on tensor cores is held to rows. */
export interface AttentionProof {
  /** The way, where it takes the problem. */
  readonly way?: AttentionWay;
  readonly dtype?: "bf16" | "f16";
}

/**
 * The largest difference between tiles on tensor cores and a row at a time in float32, over the output and the three
 * gradients, relative to each one's largest value. Both start from the same short numbers. Not a number where a second run has other bits.
 */
export function tilesAgainstRows(
  backend: CudaBackend,
  one: AttentionCase,
  { way = "tiles", dtype: short = "bf16" }: AttentionProof = {},
): number[] {
  const engine = new Engine(backend);
  const { choices } = backend.device;
  const { heads, keyHeads, t, s, d, e, isCausal, window } = one;
  const attrs = { scale: d ** -0.5, isCausal, ...(window === undefined ? {} : { window }) };
  const run = (dtype: "bf16" | "f16" | "f32"): Float64Array[] =>
    engine.scope(() => {
      // Heads side by side, as a projection leaves them.
      const draw = (count: number, length: number, width: number, seed: number): Tensor =>
        randomNormal([2, length, count, width], { key: randomKey(seed), engine })
          .cast(short)
          .cast(dtype)
          .permute([0, 2, 1, 3]);
      const [q, k, v] = [draw(heads, t, d, 1), draw(keyHeads, s, d, 2), draw(keyHeads, s, e, 3)];
      const g = draw(heads, t, e, 4);
      const [o, lse] = q.applyAll(ops.attention, [q, k, v], attrs);
      const gradients = q.applyAll(ops.attentionBackward, [q, k, v, o!, lse!, g], attrs);
      return [o!, lse!, ...gradients].map((x) => Float64Array.from(x.cast("f32").dataSync()));
    });
  const [tiles, again] = [0, 1].map(() => choices.preferring(way, () => run(short))) as [
    Float64Array[],
    Float64Array[],
  ];
  const rows = run("f32");
  return rows.map((expected, i) => {
    if (tiles[i]!.some((v, j) => !Object.is(v, again[i]![j]))) return Number.NaN;
    const largest = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    return expected.reduce((m, v, j) => Math.max(m, Math.abs(v - tiles[i]![j]!)), 0) / largest;
  });
}
