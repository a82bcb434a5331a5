import { dtypes } from "@revnet-zero/tensor";
import type { AttentionPlan, Steps } from "../../device/attentionGraphs.ts";
import { addressOf, type CudaDevice, type CudaView } from "../../device/device.ts";
import { type AttentionAttrs, type AttentionOperands, type AttentionSizes, sizesOf } from "./operands.ts";

/** Queries and keys from which a graph's tiles are filled. */
const LEAST = 64;
/** The widest head that every engine takes. */
const WIDEST = 128;
const ALIGNMENT = 16;
/** Bytes that the scores' gradients of one run may take: more heads are served one part after the other. */
const MOST_WORKSPACE = 2 ** 30;
/** Where one head alone would need more, our own kernels serve, which need none. */
const MOST_OF_HEAD = 2 ** 31;

/** Whether cuDNN's graphs take these numbers: a function of shapes, types, strides and alignment alone. */
export function takesGraph(operands: AttentionOperands, { isCausal, window }: AttentionAttrs): boolean {
  const { heads, keyHeads, t, s, d, e } = sizesOf(operands);
  const { q, k, v, o, g, out, dq, dk, dv } = operands;
  const isAligned = (view: CudaView | undefined): boolean =>
    view === undefined ||
    (addressOf(view) % ALIGNMENT === 0 && view.strides.slice(0, 3).every((step) => step > 0 && step % 8 === 0));
  return (
    (q.dtype === "bf16" || q.dtype === "f16") &&
    heads === keyHeads &&
    d === e &&
    d % 8 === 0 &&
    d <= WIDEST &&
    Math.min(t, s) >= LEAST &&
    (!isCausal || t === s) &&
    window === undefined &&
    2 * t * s <= MOST_OF_HEAD &&
    [q, k, v, o, g, out, dq, dk, dv].every(isAligned)
  );
}

/** Batches and heads of one run: as many as the workspace allows, in equal parts. */
export function partOf(
  sizes: Pick<AttentionSizes, "batch" | "heads" | "t" | "s">,
  isBackward: boolean,
): [number, number] {
  const { batch, heads, t, s } = sizes;
  if (!isBackward) return [batch, heads];
  const most = Math.max(1, Math.floor(MOST_WORKSPACE / (2 * t * s)));
  const divisor = (n: number, atMost: number): number => {
    let found = Math.min(n, Math.max(1, Math.floor(atMost)));
    while (n % found !== 0) found--;
    return found;
  };
  return most >= heads ? [divisor(batch, most / heads), heads] : [1, divisor(heads, most)];
}

const stepsOf = ({ strides }: CudaView): Steps => ({ batch: strides[0]!, head: strides[1]!, row: strides[2]! });

/** Runs attention through cuDNN, by the `which`th plan or the next; false where it is absent or has no engine for the shape. */
export function byGraph(
  device: CudaDevice,
  operands: AttentionOperands,
  attrs: AttentionAttrs,
  which: number = 0,
): boolean {
  const sizes = sizesOf(operands);
  const { q, k, v, o, g, out, dq, dk, dv, lse, delta } = operands;
  const isBackward = delta !== undefined;
  const views = isBackward ? [q, k, v, o!, g!, dq!, dk!, dv!] : [q, k, v, out!];
  const [batches, heads] = partOf(sizes, isBackward);
  const one: AttentionPlan = {
    ...{ isBackward, batch: batches, heads, t: sizes.t, s: sizes.s, d: sizes.d },
    ...{ dtype: q.dtype as "bf16" | "f16", isCausal: attrs.isCausal, scale: attrs.scale, steps: views.map(stepsOf) },
  };
  const planned = device.attention.plan(one, which);
  if (planned === undefined) return false;
  const statistics = isBackward ? [lse, delta] : [lse];
  for (let b = 0; b < sizes.batch; b += batches) {
    for (let h = 0; h < sizes.heads; h += heads) {
      const shifted = (view: CudaView): number =>
        addressOf(view) + (b * view.strides[0]! + h * view.strides[1]!) * dtypes[view.dtype].bytes;
      const row = 4 * (b * sizes.heads + h) * sizes.t;
      device.attention.run(planned, [...views.map(shifted), ...statistics.map((address) => address + row)]);
    }
  }
  return true;
}
