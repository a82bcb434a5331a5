import type { BufferView, FusedKernels, TypedArray } from "@revnet-zero/tensor";
import { emitAttentionBackward } from "../attention/backward.ts";
import { emitAttention } from "../attention/forward.ts";
import { scoreBlock } from "../attention/sizes.ts";
import type { Device } from "../device/device.ts";
import { floatBits } from "./floatBits.ts";

type Kernels = Required<Pick<FusedKernels<TypedArray>, "attention" | "attentionBackward">>;
type Attrs = Parameters<Kernels["attention"]["run"]>[2];
type View = BufferView<TypedArray>;

/** More keys than any sequence has. */
const EVERY_KEY = 2 ** 30;
/** Nanoseconds a score costs beside its multiply-adds: only to tell whether threads are worth waking. */
const SCORE_NANOSECONDS = 0.4;
const MULTIPLY_ADDS_PER_NANOSECOND = 15;

function sizesOf(q: View, k: View, v: View, { isCausal, window, scale }: Attrs) {
  const [batch, heads, t, d] = q.shape as [number, number, number, number];
  const [, keyHeads, s, e] = v.shape as [number, number, number, number];
  const reach = isCausal ? s - t + 1 : s;
  return {
    heads: batch * heads,
    keyHeads: batch * keyHeads,
    t,
    s,
    d,
    e,
    group: heads / keyHeads,
    mask: [reach, window ?? EVERY_KEY, floatBits(scale)] as const,
  };
}

/** Tiled attention: no more than a block of scores exists in any thread. */
export function attentionKernels(device: Device): Kernels {
  const { tile, multiply } = device.tier;
  const { attention } = device.load((m) => emitAttention(m, tile, multiply), ["attention"]);
  const { attentionBackward } = device.load((m) => emitAttentionBackward(m, tile, multiply), ["attentionBackward"]);
  const addresses = (views: readonly View[]): number[] => views.map((v) => device.addressOf(v));
  const cost = (d: number, e: number): number => SCORE_NANOSECONDS + (d + e) / MULTIPLY_ADDS_PER_NANOSECOND;
  return {
    attention: {
      inputs: "contiguous",
      run: ([q, k, v], [o, lse], attrs) => {
        const { heads, t, s, d, e, group, mask } = sizesOf(q!, k!, v!, attrs);
        const blocks = Math.ceil(t / scoreBlock.queries);
        const work = { units: heads * blocks, nanosecondsPerUnit: (t / blocks) * s * cost(d, e) };
        device.run(attention, work, ...addresses([q!, k!, v!, o!, lse!]), t, s, d, e, group, blocks, ...mask);
      },
    },
    attentionBackward: {
      inputs: "contiguous",
      run: ([q, k, v, o, lse, g], gradients, attrs) => {
        const { keyHeads, t, s, d, e, group, mask } = sizesOf(q!, k!, v!, attrs);
        const work = { units: keyHeads, nanosecondsPerUnit: group * t * s * 2.5 * cost(d, e) };
        const at = addresses([q!, k!, v!, o!, lse!, g!, ...gradients]);
        device.run(attentionBackward, work, ...at, t, s, d, e, group, ...mask);
      },
    },
  };
}
