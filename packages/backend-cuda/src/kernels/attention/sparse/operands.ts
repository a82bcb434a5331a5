import { type AttentionBias, biasSteps, dtypes, numel } from "@revnet-zero/tensor";
import { addressOf, addressOr0, type CudaDevice, type CudaView } from "../../../device/device.ts";
import type { Columns } from "./columns.ts";

export interface SparseAttrs {
  readonly scale: number;
  readonly blockSize: number;
  readonly mostKeys: number;
  readonly bias?: AttentionBias;
}

/** sparseAttention's operands and results, and those of its backward pass where a kernel is given them. */
export interface SparseOperands {
  readonly q: CudaView;
  readonly k: CudaView;
  readonly v: CudaView;
  /** [1 | b, 1 | hk, blocks, slots, 4] */
  readonly runs: CudaView;
  readonly bias: CudaView | undefined;
  readonly lse: CudaView;
  readonly out?: CudaView;
  readonly backward?: SparseBackward;
}

export interface SparseBackward {
  readonly o: CudaView;
  readonly g: CudaView;
  readonly ofLse: CudaView;
  readonly dq: CudaView;
  readonly dk: CudaView;
  readonly dv: CudaView;
  /** [b, h, size of the bias of a head], or empty. */
  readonly db: CudaView;
}

/** Addresses of what kernels hand to each other. */
export interface Workspace {
  /** A bias a key, times log2 e. */
  readonly keyBias?: number;
  /** [b, h, t] each, of what sums are made in. */
  readonly shift?: number;
  readonly delta?: number;
  readonly columns?: Columns;
  readonly partials?: number;
}

export interface SparseSizes {
  readonly batch: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly group: number;
  readonly t: number;
  readonly s: number;
  readonly d: number;
  readonly e: number;
  readonly blocks: number;
  readonly slots: number;
}

export function sizesOf({ q, k, v, runs }: SparseOperands): SparseSizes {
  const [batch, heads, t, d] = q.shape as unknown as [number, number, number, number];
  const [, , blocks, slots] = runs.shape as unknown as [number, number, number, number];
  const keyHeads = k.shape[1]!;
  return { batch, heads, keyHeads, group: heads / keyHeads, t, d, s: k.shape[2]!, e: v.shape[3]!, blocks, slots };
}

/** How far one head and one batch are apart in an operand whose first axes may be 1, for all. */
const steps = ({ shape, strides }: CudaView): [number, number] => [
  shape[0] === 1 ? 0 : strides[0]!,
  shape[1] === 1 ? 0 : strides[1]!,
];

/** The struct of sparse.cu. */
export function packSparse(
  device: CudaDevice,
  operands: SparseOperands,
  { scale, blockSize, bias: kind }: SparseAttrs,
  { keyBias = 0, shift = 0, delta = 0, columns, partials = 0 }: Workspace,
): void {
  const { q, k, v, out, runs, bias, lse, backward } = operands;
  const { batch, heads, keyHeads, t, s, d, e, slots, blocks } = sizesOf(operands);
  const { o, g, ofLse, dq, dk, dv, db } = backward ?? {};
  const p = device.parameters.start();
  for (const view of [q, k, v, o, g, out, dq, dk, dv]) {
    p.pointer(addressOr0(view)).longs(view?.strides.slice(0, 3) ?? [], 3);
  }
  p.pointer(addressOf(runs)).longs(steps(runs));
  const { first, query } = kind === undefined ? { first: 0, query: 0 } : biasSteps(kind, t, s);
  p.pointer(bias === undefined ? 0 : addressOf(bias) + first * dtypes[bias.dtype].bytes);
  p.longs(bias === undefined ? [0, 0] : steps(bias)).long(query);
  p.pointer(keyBias).pointer(addressOf(lse));
  p.pointer(addressOr0(ofLse)).pointer(shift).pointer(delta);
  const dbSize = db?.shape[2] ?? 0;
  p.pointer(db === undefined || dbSize === 0 ? 0 : addressOf(db)).long(dbSize);
  p.pointer(columns?.columns ?? 0)
    .pointer(columns?.entries ?? 0)
    .pointer(columns?.parts ?? 0);
  p.pointer(columns?.totals ?? 0)
    .pointer(partials)
    .long(columns?.mostEntries ?? 0);
  p.ints([columns?.mostParts ?? 0, columns?.mostPartials ?? 0, columns?.partEntries ?? 0]);
  p.ints([runs.shape[1]!, runs.shape[0]!, batch * heads, batch * keyHeads]);
  p.ints([heads, keyHeads, t, s, d, e, blockSize, slots, blocks]).double(scale);
}

/** Rows that a kernel has nothing to do for. */
export const isNothing = ({ q, k }: SparseOperands): boolean => numel(q.shape.slice(0, 3)) * k.shape[2]! === 0;
