import { isContiguous, type PrimitiveKernels, type TypedArray } from "@revnet-zero/tensor";
import { identity } from "../../plain/copy.ts";
import { plainKernels } from "../../plain/index.ts";
import { type Copy, copyElements, moveKernels as movesBy, words } from "../../plain/move.ts";
import { conversion } from "../vector/conversion.ts";
import type { ElementwiseKernels } from "./elementwise.ts";

type Kernels = Pick<PrimitiveKernels<TypedArray>, "copy" | "cast" | "pad" | "concat" | "writeSlice">;

/** What only moves elements, as vector loops of the identity where the target has runs of neighbours. */
export function moveKernels(elementwise: ElementwiseKernels): Kernels {
  const copy: Copy = (from, to) => {
    if (!elementwise.run(identity, undefined, [words(from)], words(to))) copyElements(from, to);
  };
  return {
    ...movesBy(copy),
    copy: {
      run: ([x], [y], attrs) => {
        if (isContiguous(x!)) plainKernels.copy.run([x!], [y!], attrs);
        else copy(x!, y!);
      },
    },
    cast: {
      run: ([x], [y], attrs) => {
        if (!elementwise.run(conversion, undefined, [x!], y!)) plainKernels.cast.run([x!], [y!], attrs);
      },
    },
  };
}
