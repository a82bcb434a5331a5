import { dtypes, isContiguous, numel, type TypedArray } from "@revnet-zero/tensor";
import { type CpuView, dense, store } from "../buffer.ts";

export type Floats = Float32Array | Float64Array;

/** The values of a float view, dense: the buffer itself for contiguous f32 and f64, a converted copy otherwise. */
export function floatsIn(view: CpuView): Floats {
  const { data, dtype, offset, shape } = view;
  if (isContiguous(view)) {
    if (dtype === "f32" || dtype === "f64") return (data as Floats).subarray(offset, offset + numel(shape)) as Floats;
  }
  return dtype === "f64" ? dense(view) : Float32Array.from(dense(view));
}

/** Calls `fill` with an array for the output's values, and stores them when the dtype has no such array. */
export function floatsOut(view: CpuView, fill: (values: Floats) => void): void {
  if (view.dtype === "f32" || view.dtype === "f64") {
    fill((view.data as Floats).subarray(0, numel(view.shape)) as Floats);
    return;
  }
  const values = new Float32Array(numel(view.shape));
  fill(values);
  store(view, values);
}

/** The dense values of an integer view, in its own type. */
export function integersIn(view: CpuView): TypedArray {
  const { data, dtype, offset, shape } = view;
  if (isContiguous(view)) return data.subarray(offset, offset + numel(shape));
  const values = new dtypes[dtype].array(numel(shape));
  values.set(dense(view));
  return values;
}

/** The dense i32 values of a view. */
export function indicesIn(view: CpuView): Int32Array {
  const { data, offset, shape } = view;
  return isContiguous(view)
    ? (data as Int32Array).subarray(offset, offset + numel(shape))
    : Int32Array.from(dense(view));
}
