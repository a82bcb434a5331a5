import {
  type BufferView,
  contiguous,
  type DType,
  isContiguous,
  isFloat,
  type Kernel,
  numel,
  type TypedArray,
} from "@revnet-zero/tensor";
import { identity } from "../../plain/copy.ts";
import { plainKernels } from "../../plain/index.ts";
import type { Device } from "../device/device.ts";
import type { ElementwiseKernels } from "./elementwise.ts";

type View = BufferView<TypedArray>;

/** What a float32 kernel serves by itself. */
const served: readonly DType[] = ["f32", "bf16"];

/**
 * A float32 kernel for float32 and bfloat16 tensors: bfloat16 is read into float32 copies and rounded once at the end. With any other
 * type, the plain kernel serves, on row-major copies where it needs them; where there is none, the op is decomposed.
 */
export function serve<A>(
  device: Device,
  elementwise: ElementwiseKernels,
  fast: Kernel<TypedArray, A>,
  plain: Kernel<TypedArray, A> | undefined,
): Kernel<TypedArray, A> {
  const run: Kernel<TypedArray, A>["run"] = (inputs, outputs, attrs) => {
    const types = [...inputs, ...outputs].map((v) => v.dtype).filter(isFloat);
    if (types.every((t) => t === "f32")) fast.run(inputs, outputs, attrs);
    else if (types.every((t) => t === "f32" || t === "bf16")) withCopies(widened, inputs, outputs, attrs);
    else withCopies(dense, inputs, outputs, attrs);
  };

  /** The type in which a kernel reads and writes a view through a row-major copy; undefined for the view itself. */
  type Copied = (v: View) => DType | undefined;
  const widened: Copied = ({ dtype }) => (dtype === "bf16" ? "f32" : undefined);
  const dense: Copied = (v) => (plain?.inputs !== "contiguous" || isContiguous(v) ? undefined : v.dtype);

  const withCopies = (copied: Copied, inputs: readonly View[], outputs: readonly View[], attrs: A): void => {
    const copies: TypedArray[] = [];
    const forKernel = (v: View): View => {
      const dtype = copied(v);
      if (dtype === undefined) return v;
      const data = device.heap.allocate(dtype, numel(v.shape));
      copies.push(data);
      return { data, dtype, ...contiguous(v.shape) };
    };
    const copy = (from: View, to: View): void => {
      if (!elementwise.run(identity, undefined, [from], to)) plainKernels.copy.run([from], [to], undefined);
    };
    try {
      const read = inputs.map((v) => {
        const own = forKernel(v);
        if (own !== v) copy(v, own);
        return own;
      });
      const written = outputs.map(forKernel);
      (copied === widened ? fast : plain!).run(read, written, attrs);
      outputs.forEach((v, i) => {
        if (written[i] !== v) copy(written[i]!, v);
      });
    } finally {
      for (const c of copies) device.heap.free(c);
    }
  };
  const wants = fast.inputs ?? "strided";
  const dtypes = plain === undefined ? served : plain.dtypes;
  return { inputs: wants, ...(dtypes === undefined ? {} : { dtypes }), run };
}
