import type { Shape } from "./shape.ts";

/** One axis of a loop nest over several operands: its size and each operand's step. */
export interface Loop {
  readonly size: number;
  readonly strides: readonly number[];
}

/** The fewest nested loops that visit all operands in row-major order: neighbouring axes merge where all allow it. */
export function collapse(shape: Shape, strides: readonly (readonly number[])[]): Loop[] {
  const loops: { size: number; strides: number[] }[] = [];
  shape.forEach((size, d) => {
    if (size === 1) return;
    const steps = strides.map((s) => s[d]!);
    const outer = loops[loops.length - 1];
    if (outer?.strides.every((s, k) => s === steps[k]! * size)) {
      outer.size *= size;
      outer.strides = steps;
    } else {
      loops.push({ size, strides: steps });
    }
  });
  return loops.length === 0 ? [{ size: 1, strides: strides.map(() => 0) }] : loops;
}
