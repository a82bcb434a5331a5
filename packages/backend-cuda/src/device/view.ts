import { type BufferView, dtypes } from "@revnet-zero/tensor";
import type { Block } from "./allocator.ts";

export type CudaView = BufferView<Block>;

/** The address of a view's first element. */
export const addressOf = (view: CudaView): number => view.data.address + view.offset * dtypes[view.dtype].bytes;

/** The same of an operand that may be absent: then 0, as kernels know it. */
export const addressOr0 = (view: CudaView | undefined): number => (view === undefined ? 0 : addressOf(view));
