import { type DType, dtypes, type Tensor, ValueError } from "@revnet-zero/tensor";
import { lacksValues } from "../lacksValues.ts";
import { multiply, RATIO_LIMIT, undoMultiply } from "../side/informationBuffer.ts";
import type { StepMemory } from "./arithmetic.ts";

// Multiplication of whole-number streams by an information buffer. A factor is rounded to a multiple of 2^-12: n/d with
// d = 2^12. Factors that are not positive or not numbers count as 2^-12, and the largest is just below 8.

export const RATIO_BITS = 12;

const numerator = (factor: Tensor): Tensor =>
  factor
    .cast("f32")
    .quantise(RATIO_BITS)
    .maximum(1)
    .minimum(RATIO_LIMIT - 1);
const denominator = (stream: Tensor): Tensor => stream.fullOf([], 2 ** RATIO_BITS, "i32");

/** Expanding factors: the product must stay a number of the stream's type, or nothing could undo it. */
function checkRange(v: Tensor, n: Tensor, dtype: DType): void {
  if (v.size === 0) return;
  const { engine } = v;
  const bound = dtypes[dtype].range![1] - RATIO_LIMIT / 2 ** RATIO_BITS;
  const largestIn = (float: "f32" | "f64"): Tensor => engine.scope(() => v.cast(float).abs().mul(n).max());
  // float32 is fast, and off by two roundings: what it finds near the bound is looked at again.
  const near = largestIn("f32");
  if (lacksValues(engine) || near.itemSync() / 2 ** RATIO_BITS < bound * (1 - 2 ** -22)) return;
  const largest = largestIn("f64").itemSync() / 2 ** RATIO_BITS;
  if (largest < bound) return;
  throw new ValueError(
    "reversible",
    `a factor takes a stream to ${largest.toPrecision(3)} steps, beyond the ${dtypes[dtype].range![1]} of ${dtype}`,
    "use fewer fractionBits, or a smaller bound on the coupling's factors",
  );
}

/** The stream times a factor; it is given up. */
export function scaleExactly(stream: Tensor, factor: Tensor, memory: StepMemory): Tensor {
  const { engine, dtype } = stream;
  const { value, head, bytes } = engine.scope(() => {
    const [v, n] = [stream.cast("i32"), numerator(factor)];
    checkRange(v, n, dtype);
    const product = multiply(v, n, denominator(v), memory.buffer);
    return { ...product, value: product.value.cast(dtype) };
  });
  memory.push(bytes);
  memory.buffer = head;
  stream.dispose();
  return value;
}

export function unscaleExactly(stream: Tensor, factor: Tensor, memory: StepMemory): Tensor {
  const { engine, dtype } = stream;
  const bytes = memory.pop();
  const { value, head } = engine.scope(() => {
    const [v, n] = [stream.cast("i32"), numerator(factor)];
    const back = undoMultiply({ value: v, head: memory.buffer, bytes }, n, denominator(v));
    return { ...back, value: back.value.cast(dtype) };
  });
  memory.buffer = head;
  stream.dispose();
  bytes.dispose();
  return value;
}
