import {
  type ElementwiseOp,
  elementwise,
  isContiguous,
  isFloat,
  numel,
  type PrimitiveKernels,
  type TypedArray,
} from "@revnet-zero/tensor";
import { referenceKernels } from "../reference/index.ts";
import { runElementwise } from "./elementwise.ts";

export const identity: ElementwiseOp = elementwise({
  name: "identity",
  arity: 1,
  doc: "x",
  meta: ([x]) => [x!],
  body: ([x]) => x!,
  gradient: "none",
});

/** Copies and float conversions through the compiled loops; conversions to integers saturate, as the reference says. */
export const copyKernels: Pick<PrimitiveKernels<TypedArray>, "copy" | "cast"> = {
  copy: {
    run: ([x], [y]) => {
      if (isContiguous(x!)) y!.data.set(x!.data.subarray(x!.offset, x!.offset + numel(x!.shape)));
      else runElementwise(identity, undefined, [x!], y!);
    },
  },
  cast: {
    run: ([x], [y], attrs) => {
      if (isFloat(y!.dtype)) runElementwise(identity, undefined, [x!], y!);
      else referenceKernels.cast.run([x!], [y!], attrs);
    },
  },
};
