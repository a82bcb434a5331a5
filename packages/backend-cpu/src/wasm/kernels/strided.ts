import { type BufferView, collapse, contiguous, numel, type TypedArray } from "@revnet-zero/tensor";
import { identity } from "../../plain/copy.ts";
import type { Device } from "../device/device.ts";
import type { ElementwiseKernels } from "./elementwise.ts";

type View = BufferView<TypedArray>;

/** An axis in front of the rows: its size and its step in elements. */
export interface LeadingAxis {
  readonly size: number;
  readonly step: number;
}

/**
 * Runs `f` on a float32 tensor whose last axis lies side by side, all but the last two axes merged to the given number
 * of steps, fastest first: the tensor as it lies where that can be said, else a row-major copy.
 */
export function withRows(
  device: Device,
  elementwise: ElementwiseKernels,
  x: View,
  count: number,
  f: (x: View, lead: readonly LeadingAxis[]) => void,
): void {
  const lead = leadingAxes(x, count);
  if (lead !== undefined) {
    f(x, lead);
    return;
  }
  const data = device.heap.allocate("f32", numel(x.shape));
  try {
    const dense: View = { data, dtype: "f32", ...contiguous(x.shape) };
    elementwise.run(identity, undefined, [x], dense);
    f(dense, leadingAxes(dense, count)!);
  } finally {
    device.heap.free(data);
  }
}

function leadingAxes({ shape, strides }: View, count: number): LeadingAxis[] | undefined {
  const last = shape.length - 1;
  if (strides[last] !== 1 && shape[last]! > 1) return undefined;
  const loops = collapse(shape.slice(0, -2), [strides.slice(0, -2)]);
  if (loops.length > count) return undefined;
  const axes = loops.reverse().map(({ size, strides: [step] }) => ({ size, step: step! }));
  while (axes.length < count) axes.push({ size: 1, step: 0 });
  return axes;
}
