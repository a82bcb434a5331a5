import type { FusedKernels } from "@revnet-zero/tensor";
import type { Block } from "../../device/allocator.ts";
import { addressOf, type CudaView } from "../../device/device.ts";
import type { Context } from "../context.ts";
import { rope } from "../rope.ts";
import { runBackward, runForward } from "./run.ts";

type Kernels = Pick<FusedKernels<Block>, "headAttention" | "headAttentionBackward">;

/** Heads [from, from + count) of a row-major [b, t, heads, d]. */
function heads(view: CudaView, from: number, count: number): CudaView {
  const [batch, time, , dim] = view.shape as unknown as [number, number, number, number];
  return { ...view, shape: [batch, time, count, dim], offset: view.offset + from * view.strides[2]! };
}

/** [b, t, h, d] seen as [b, h, t, d]. */
function swap(view: CudaView): CudaView {
  const order = [0, 2, 1, 3];
  return { ...view, shape: order.map((i) => view.shape[i]!), strides: order.map((i) => view.strides[i]!) };
}

/** q, k and v of packed heads, as [b, h, t, d]. */
function parts(x: CudaView, keyHeads: number): [q: CudaView, k: CudaView, v: CudaView] {
  const turned = x.shape[2]! - keyHeads;
  const part = (from: number, count: number): CudaView => swap(heads(x, from, count));
  return [part(0, turned - keyHeads), part(turned - keyHeads, keyHeads), part(turned, keyHeads)];
}

export function headAttentionKernels(context: Context): Kernels {
  const { device, elementwise } = context;
  /** Turns queries and keys of x into y, which may be x. */
  const turn = (
    x: CudaView,
    positions: CudaView,
    y: CudaView,
    keyHeads: number,
    base: number,
    direction: 1 | -1,
  ): void => {
    const [from, to] = [x, y].map((view) => swap(heads(view, 0, view.shape[2]! - keyHeads))) as [CudaView, CudaView];
    rope(device, [from, positions, to], { base, direction });
  };
  return {
    headAttention: {
      inputs: "contiguous",
      run: ([x, positions], [turned, out, lse], attrs) => {
        const { keyHeads, base } = attrs;
        if (turned!.data !== x!.data) {
          const untouched = positions === undefined ? x!.shape[2]! : keyHeads;
          const from = x!.shape[2]! - untouched;
          elementwise.copy(heads(x!, from, untouched), heads(turned!, from, untouched));
        }
        if (positions !== undefined) turn(x!, positions, turned!, keyHeads, base, 1);
        const [q, k, v] = parts(turned!, keyHeads);
        runForward(context, { q, k, v, out: swap(out!), lse: addressOf(lse!) }, attrs);
      },
    },
    headAttentionBackward: {
      inputs: "contiguous",
      run: ([x, o, stored, g, positions], [dx], attrs) => {
        const { keyHeads, base } = attrs;
        const [q, k, v] = parts(x!, keyHeads);
        const [dq, dk, dv] = parts(dx!, keyHeads);
        runBackward(context, { q, k, v, o: swap(o!), g: swap(g!), stored: stored!, dq, dk, dv }, attrs);
        if (positions !== undefined) turn(dx!, positions, dx!, keyHeads, base, -1);
      },
    },
  };
}
