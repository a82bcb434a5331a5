import { contiguous, dtypes, numel } from "@revnet-zero/tensor";
import type { CudaView } from "../../device/device.ts";
import type { Context } from "../context.ts";

export interface AttentionAttrs {
  readonly scale: number;
  readonly isCausal: boolean;
  readonly window?: number;
}

/**
 * q [b, h, t, d], k [b, hk, s, d] and v [b, hk, s, e], and whatever else of attention's operands and results a kernel is given:
 * o, its gradient g and `out` are [b, h, t, e]. Their last axes lie together (`hasRows`), the others may lie anywhere.
 */
export interface AttentionOperands {
  readonly q: CudaView;
  readonly k: CudaView;
  readonly v: CudaView;
  readonly o?: CudaView;
  readonly g?: CudaView;
  readonly out?: CudaView;
  readonly dq?: CudaView;
  readonly dk?: CudaView;
  readonly dv?: CudaView;
  /** Addresses of [b, h, t] in float32 (float64 for float64 operands): log-sum-exp, and the sums of g · o. */
  readonly lse: number;
  readonly delta?: number;
}

export interface AttentionSizes {
  readonly batch: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly t: number;
  readonly s: number;
  readonly d: number;
  readonly e: number;
}

export function sizesOf({ q, k, v }: AttentionOperands): AttentionSizes {
  const [batch, heads, t, d] = q.shape as unknown as [number, number, number, number];
  return { batch, heads, t, d, keyHeads: k.shape[1]!, s: k.shape[2]!, e: v.shape[3]! };
}

/** Whether a view's last axis lies together. */
export const hasRows = ({ shape, strides }: CudaView): boolean =>
  shape[shape.length - 1]! <= 1 || strides[strides.length - 1] === 1;

/** Runs `use` on views that lie as it needs them: on row-major copies of those that do not. */
export function withLayout(
  context: Context,
  views: readonly CudaView[],
  fits: (view: CudaView) => boolean,
  use: (views: readonly CudaView[]) => void,
): void {
  const at = views.findIndex((view) => !fits(view));
  if (at < 0) {
    use(views);
    return;
  }
  const view = views[at]!;
  const bytes = numel(view.shape) * dtypes[view.dtype].bytes;
  context.device.withWorkspace(bytes, (address) => {
    const copy: CudaView = { ...view, ...contiguous(view.shape), data: { address, bytes } };
    context.elementwise.copy(view, copy);
    withLayout(
      context,
      views.map((v, i) => (i === at ? copy : v)),
      fits,
      use,
    );
  });
}
