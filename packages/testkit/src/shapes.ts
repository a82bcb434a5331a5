import { numel, type Shape } from "@revnet-zero/tensor";
import fc from "fast-check";

export interface SizeOptions {
  /** Axes of size 0 too. */
  readonly allowsEmpty?: boolean;
  /** Now and then a long axis, past the width of a vector register and the edge of a block. */
  readonly allowsLong?: boolean;
}

/** The size of one axis. */
export function axisSize({ allowsEmpty = false, allowsLong = false }: SizeOptions = {}): fc.Arbitrary<number> {
  return fc.oneof(
    { weight: 7, arbitrary: fc.integer({ min: 1, max: 4 }) },
    ...(allowsLong ? [{ weight: 2, arbitrary: fc.integer({ min: 5, max: 40 }) }] : []),
    ...(allowsEmpty ? [{ weight: 1, arbitrary: fc.constant(0) }] : []),
  );
}

/** At most this many elements, so that the slow reference stays quick: long axes are cut from the left. */
const mostElements = 400;

export function clampShape(shape: Shape): Shape {
  const out = [...shape];
  for (let d = 0; numel(out) > mostElements && d < out.length; d++) out[d] = Math.min(out[d]!, 2);
  return out;
}

export interface ShapeOptions extends SizeOptions {
  readonly minRank?: number;
  readonly maxRank?: number;
}

export function shapes({ minRank = 0, maxRank = 3, ...sizes }: ShapeOptions = {}): fc.Arbitrary<Shape> {
  return fc.array(axisSize(sizes), { minLength: minRank, maxLength: maxRank }).map(clampShape);
}

/** Shapes that broadcast together: leading axes missing here, axes of size 1 there. */
export function broadcastableShapes(count: number, options: ShapeOptions = {}): fc.Arbitrary<Shape[]> {
  return shapes(options).chain((full) => {
    const operand = fc
      .tuple(fc.nat({ max: full.length }), fc.array(fc.boolean(), { minLength: full.length, maxLength: full.length }))
      .map(([dropped, ones]) => full.map((s, d) => (ones[d] ? 1 : s)).slice(dropped));
    const same = fc.constant(full);
    return fc.array(fc.oneof({ weight: 2, arbitrary: same }, { weight: 3, arbitrary: operand }), {
      minLength: count,
      maxLength: count,
    });
  });
}
