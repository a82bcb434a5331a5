import { type BufferView, biasSteps, type FusedKernels, RUN_WORDS, type TypedArray } from "@revnet-zero/tensor";
import {
  backwardParameters,
  emitAttentionBackward,
  emitAttentionPrepare,
  prepareParameters,
} from "../attention/backward.ts";
import { emitAttention, forwardParameters } from "../attention/forward.ts";
import { scoreBlock } from "../attention/sizes.ts";
import type { Device } from "../device/device.ts";
import { emitGemm } from "../gemm/gemm.ts";
import { floatBits } from "./floatBits.ts";

type Kernels = Required<
  Pick<FusedKernels<TypedArray>, "attention" | "attentionBackward" | "sparseAttention" | "sparseAttentionBackward">
>;
type DenseAttrs = Parameters<Kernels["attention"]["run"]>[2];
type SparseAttrs = Parameters<Kernels["sparseAttention"]["run"]>[2];
type View = BufferView<TypedArray>;

/** Nanoseconds a score costs beside its multiply-adds: only to tell whether threads are worth waking. */
const SCORE_NANOSECONDS = 0.4;
const MULTIPLY_ADDS_PER_NANOSECOND = 15;
/** Parts that a thread has of a backward pass which is cut: that the last to finish is not far behind. */
const PARTS_A_THREAD = 4;

/** What is attended to: the parameters of a list and a bias, and how many keys a query sees at most. */
interface Seen {
  readonly scale: number;
  readonly mostKeys: number;
  readonly blockSize: number;
  readonly runs: number;
  readonly slots: number;
  readonly runsBatch: number;
  readonly runsHead: number;
  readonly bias: number;
  readonly biasBatch: number;
  readonly biasHead: number;
  readonly biasQuery: number;
}
const noBias = { bias: 0, biasBatch: 0, biasHead: 0, biasQuery: 0 };

/** The arguments in the order of their names. */
const inOrder = <N extends string>(names: readonly N[], values: Readonly<Record<N, number>>): number[] =>
  names.map((n) => values[n]);

/** Tiled attention, driven by a list: no more than a block of scores exists in any thread. */
export function attentionKernels(device: Device): Kernels {
  const { tile, multiply } = device.tier;
  const loaded = device.load(
    (m) => {
      const { gemm } = emitGemm(m, tile, multiply);
      emitAttention(m, tile, multiply, gemm);
      emitAttentionPrepare(m, tile, multiply, gemm);
      emitAttentionBackward(m, tile, multiply, gemm);
    },
    ["attention", "attentionPrepare", "attentionBackward"],
  );
  const at = (view: View): number => device.addressOf(view);
  const perScore = (d: number, e: number): number => SCORE_NANOSECONDS + (d + e) / MULTIPLY_ADDS_PER_NANOSECOND;

  /** Memory for the time of one call. */
  const withMemory = <T extends "i32" | "f32">(dtype: T, elements: number, f: (values: TypedArray) => void): void => {
    const values = device.heap.allocate(dtype, elements);
    try {
      f(values);
    } finally {
      device.heap.free(values);
    }
  };

  const sizesOf = (q: View, k: View, v: View, blockSize: number) => {
    const [batch, heads, t, d] = q.shape as [number, number, number, number];
    const [, keyHeads, s, e] = v.shape as [number, number, number, number];
    return { batch, heads, keyHeads, t, s, d, e, group: heads / keyHeads, blocks: Math.ceil(t / blockSize) };
  };

  const forward = ([q, k, v]: readonly View[], [o, lse]: readonly View[], seen: Seen): void => {
    const sizes = sizesOf(q!, k!, v!, seen.blockSize);
    const { batch, heads, t, d, e, blocks } = sizes;
    const pieces = Math.ceil(seen.blockSize / scoreBlock.queries);
    const units = batch * heads * blocks * pieces;
    const work = { units, nanosecondsPerUnit: (t / (blocks * pieces)) * seen.mostKeys * perScore(d, e) };
    const addresses = { q: at(q!), k: at(k!), v: at(v!), o: at(o!), lse: at(lse!) };
    const values = { ...seen, ...sizes, ...addresses, pieces, scaleBits: floatBits(seen.scale) };
    device.run(loaded.attention, work, ...inOrder(forwardParameters, values));
  };

  /** Gradients in [dq, dk, dv], and in `db`, zeros, where there is one: `dbHead` bytes a head, those of the block's first place first. */
  const backward = (
    [q, k, v, o, lse, g, ofLse]: readonly (View | undefined)[],
    [dq, dk, dv]: readonly View[],
    seen: Seen,
    gradient: { readonly db: number; readonly dbHead: number },
  ): void => {
    const sizes = sizesOf(q!, k!, v!, seen.blockSize);
    const { batch, heads, keyHeads, t, s, d, e, blocks } = sizes;
    const rows = batch * heads * t;
    withMemory("f32", 2 * rows, (forRows) => {
      const shift = at({ data: forRows, offset: 0 } as View);
      const delta = shift + 4 * rows;
      const results = { o: at(o!), lse: at(lse!), g: at(g!), ofLse: ofLse === undefined ? 0 : at(ofLse) };
      const prepare = { units: rows, nanosecondsPerUnit: 10 + e / 4 };
      device.run(loaded.attentionPrepare, prepare, ...inOrder(prepareParameters, { ...results, shift, delta, e }));
      const addresses = { q: at(q!), k: at(k!), v: at(v!), g: at(g!), dq: at(dq!), dk: at(dk!), dv: at(dv!) };
      const pass = (queryParts: number, keyParts: number, wants: "both" | "queries" | "keys"): void => {
        const units = batch * keyHeads * queryParts * keyParts;
        const work = { units, nanosecondsPerUnit: ((2.5 * rows) / units) * seen.mostKeys * perScore(d, e) };
        const values = {
          ...seen,
          ...sizes,
          ...addresses,
          ...gradient,
          shift,
          delta,
          // The gradient by a bias is the keys' part's.
          db: wants === "queries" ? 0 : gradient.db,
          scaleBits: floatBits(seen.scale),
          queryParts,
          keyParts,
          blocksPerPart: Math.ceil(blocks / queryParts),
          keysPerPart: Math.ceil(s / keyParts),
          wantsQueries: Number(wants !== "keys"),
          wantsKeys: Number(wants !== "queries"),
        };
        device.run(loaded.attentionBackward, work, ...inOrder(backwardParameters, values));
      };
      // Scores once, where every thread has a head of its own; else twice, in parts of the queries and then of the keys: the same bits.
      const units = batch * keyHeads;
      const areHeadsEnough = units % device.threads === 0 || units >= PARTS_A_THREAD * device.threads;
      // Only a bias a key belongs to one part of the keys.
      if (areHeadsEnough || (gradient.db !== 0 && seen.biasQuery !== 0)) {
        pass(1, 1, "both");
        return;
      }
      const parts = Math.ceil((PARTS_A_THREAD * device.threads) / units);
      pass(Math.min(blocks, parts), 1, "queries");
      pass(1, Math.min(s, parts), "keys");
    });
  };

  /** A mask as a list: a run for every block of queries. */
  const withMask = (q: View, k: View, { isCausal, window, scale }: DenseAttrs, f: (seen: Seen) => void): void => {
    const blockSize = scoreBlock.queries;
    const [t, s] = [q.shape[2]!, k.shape[2]!];
    const blocks = Math.ceil(t / blockSize);
    withMemory("i32", Math.max(1, RUN_WORDS * blocks), (list) => {
      for (let i = 0; i < blocks; i++) {
        const high = isCausal ? i * blockSize + s - t + 1 : s;
        const low = window === undefined ? -EVERY_KEY : high - window;
        list.set([0, s, low, isCausal ? high : EVERY_KEY], RUN_WORDS * i);
      }
      const runs = at({ data: list, offset: 0 } as View);
      f({ scale, mostKeys: s, blockSize, runs, slots: 1, runsBatch: 0, runsHead: 0, ...noBias });
    });
  };

  const seenBy = (q: View, k: View, list: View, bias: View | undefined, attrs: SparseAttrs): Seen => {
    const [lb, lh, blocks, slots] = list.shape as [number, number, number, number];
    const perHead = 4 * RUN_WORDS * blocks * slots;
    const { scale, blockSize, mostKeys } = attrs;
    const ofList = { runs: at(list), slots, runsBatch: lb === 1 ? 0 : lh * perHead, runsHead: lh === 1 ? 0 : perHead };
    if (bias === undefined) return { scale, blockSize, mostKeys, ...ofList, ...noBias };
    const { size, query, first } = biasSteps(attrs.bias!, q.shape[2]!, k.shape[2]!);
    const [bb, bh] = bias.shape as [number, number];
    const ofBias = {
      bias: at(bias) + 4 * first,
      biasBatch: bb === 1 ? 0 : 4 * bh * size,
      biasHead: bh === 1 ? 0 : 4 * size,
      biasQuery: 4 * query,
    };
    return { scale, blockSize, mostKeys, ...ofList, ...ofBias };
  };

  return {
    attention: {
      inputs: "contiguous",
      run: (inputs, outputs, attrs) =>
        withMask(inputs[0]!, inputs[1]!, attrs, (seen) => forward(inputs, outputs, seen)),
    },
    attentionBackward: {
      inputs: "contiguous",
      run: (inputs, outputs, attrs) =>
        withMask(inputs[0]!, inputs[1]!, attrs, (seen) => backward(inputs, outputs, seen, { db: 0, dbHead: 0 })),
    },
    sparseAttention: {
      inputs: "contiguous",
      run: ([q, k, v, list, bias], outputs, attrs) =>
        forward([q!, k!, v!], outputs, seenBy(q!, k!, list!, bias, attrs)),
    },
    sparseAttentionBackward: {
      inputs: "contiguous",
      run: ([q, k, v, list, o, lse, g, ofLse, bias], [dq, dk, dv, db], attrs) => {
        const seen = seenBy(q!, k!, list!, bias, attrs);
        const size = db!.shape[2]!;
        if (size > 0) (db!.data as Float32Array).fill(0);
        const first = size === 0 ? 0 : biasSteps(attrs.bias!, q!.shape[2]!, k!.shape[2]!).first;
        const gradient = { db: size === 0 ? 0 : at(db!) + 4 * first, dbHead: 4 * size };
        backward([q, k, v, o, lse, g, ofLse], [dq!, dk!, dv!], seen, gradient);
      },
    },
  };
}

/** More keys than any sequence has. */
const EVERY_KEY = 2 ** 30;
