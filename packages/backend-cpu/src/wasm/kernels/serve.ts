import {
  type BufferView,
  contiguous,
  type DType,
  isFloat,
  type Kernel,
  numel,
  type TypedArray,
} from "@revnet-zero/tensor";
import { identity } from "../../plain/copy.ts";
import type { Device } from "../device/device.ts";
import type { ElementwiseKernels } from "./elementwise.ts";

type View = BufferView<TypedArray>;

/**
 * A float32 kernel for float32 and bfloat16 tensors: bfloat16 is read into float32 copies and rounded once at the end. With any other
 * type, the plain kernel serves.
 */
export function serve<A>(
  device: Device,
  elementwise: ElementwiseKernels,
  fast: Kernel<TypedArray, A>,
  plain: Kernel<TypedArray, A>,
): Kernel<TypedArray, A> {
  const run: Kernel<TypedArray, A>["run"] = (inputs, outputs, attrs) => {
    const types = [...inputs, ...outputs].map((v) => v.dtype).filter(isFloat);
    if (types.every((t) => t === "f32")) fast.run(inputs, outputs, attrs);
    else if (types.every((t) => t === "f32" || t === "bf16")) widened(inputs, outputs, attrs);
    else plain.run(inputs, outputs, attrs);
  };
  const widened: Kernel<TypedArray, A>["run"] = (inputs, outputs, attrs) => {
    const copies: TypedArray[] = [];
    const wide = (v: View): View => {
      if (v.dtype !== "bf16") return v;
      const data = device.heap.allocate("f32", numel(v.shape));
      copies.push(data);
      return { data, dtype: "f32" as DType, ...contiguous(v.shape) };
    };
    try {
      const read = inputs.map((v) => {
        const copy = wide(v);
        if (copy !== v) elementwise.run(identity, undefined, [v], copy);
        return copy;
      });
      const written = outputs.map(wide);
      fast.run(read, written, attrs);
      outputs.forEach((v, i) => {
        if (written[i] !== v) elementwise.run(identity, undefined, [written[i]!], v);
      });
    } finally {
      for (const c of copies) device.heap.free(c);
    }
  };
  // Both read what either reads; rows are easier side by side.
  const wants = fast.inputs === "contiguous" || plain.inputs === "contiguous" ? "contiguous" : "strided";
  return { inputs: wants, ...(plain.dtypes === undefined ? {} : { dtypes: plain.dtypes }), run };
}
