import type { BufferView, DType } from "@revnet-zero/tensor";
import type { Words } from "./device/device.ts";

/**
 * A buffer as the engine sees it. What is on the device never changes: writing puts other words in, and those that were there are
 * released. Kernels hold on to the words they were given when they were asked for.
 */
export interface Slot {
  readonly dtype: DType;
  readonly elements: number;
  words: Words | undefined;
}

export type View = BufferView<Slot>;
