import { DTypeError, describeAll } from "../errors.ts";
import { select } from "../expr/expr.ts";
import type { ElementwiseOp } from "../op.ts";
import { broadcastAll, smooth } from "./derive.ts";

/** `condition ? x : y`. The gradient goes only where the value came from, so a NaN in the other branch stays there. */
export const where: ElementwiseOp = smooth({
  name: "where",
  arity: 3,
  doc: "x where the condition holds, else y",
  meta: (inputs) => {
    const [condition, x, y] = inputs;
    if (condition!.dtype !== "bool" || x!.dtype !== y!.dtype) {
      throw new DTypeError(
        "where",
        `needs a bool condition and two values of one dtype, got ${describeAll(inputs)}`,
        "compare first: x.greater(0).where(a, b)",
      );
    }
    return [{ shape: broadcastAll("where", inputs), dtype: x!.dtype }];
  },
  body: ([c, x, y]) => select(c!, x!, y!),
});
