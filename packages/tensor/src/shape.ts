import { ShapeError, ValueError } from "./errors.ts";

/** Sizes of the axes, outermost first. `[]` is a scalar. */
export type Shape = readonly number[];

export function numel(shape: Shape): number {
  let n = 1;
  for (const s of shape) n *= s;
  return n;
}

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((s, i) => s === b[i]);

/** NumPy broadcasting: align right, a 1 stretches, anything else must match. */
export function broadcastShapes(op: string, a: Shape, b: Shape): Shape {
  if (sameShape(a, b)) return a;
  const rank = Math.max(a.length, b.length);
  const out: number[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(
        op,
        `cannot broadcast [${a.join(", ")}] with [${b.join(", ")}]: axis ${i - rank} is ${x} and ${y}`,
        "axes align from the right; each pair must be equal or one of them 1 (use unsqueeze or reshape to align)",
      );
    }
    out.push(x === 1 ? y : x);
  }
  return out;
}

/** A possibly negative axis as 0..rank-1. */
export function normalizeAxis(op: string, axis: number, rank: number): number {
  const a = axis < 0 ? axis + rank : axis;
  if (Number.isInteger(axis) && a >= 0 && a < rank) return a;
  throw new ValueError(op, `axis ${axis} does not exist in a tensor of rank ${rank}`, `use ${-rank}..${rank - 1}`);
}

/** Distinct, sorted, non-negative axes; `undefined` means all. */
export function normalizeAxes(op: string, axes: number | readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = (typeof axes === "number" ? [axes] : [...axes]).map((a) => normalizeAxis(op, a, rank));
  checkDistinct(op, list);
  return list.sort((a, b) => a - b);
}

/** Axes in an op's attributes are normalised: 0..rank-1, each once. */
export function checkAxes(op: string, axes: readonly number[], rank: number): void {
  const wrong = axes.find((a) => !(Number.isInteger(a) && a >= 0 && a < rank));
  if (wrong !== undefined)
    throw new ValueError(
      op,
      `axis ${wrong} does not exist in a tensor of rank ${rank}`,
      "attributes count axes from 0; methods such as x.sum(-1) take negative ones",
    );
  checkDistinct(op, axes);
}

function checkDistinct(op: string, axes: readonly number[]): void {
  if (new Set(axes).size !== axes.length)
    throw new ValueError(op, `axis named twice in [${axes.join(", ")}]`, "name each axis once");
}

export function checkShape(op: string, shape: Shape): void {
  for (const s of shape) {
    if (!Number.isInteger(s) || s < 0) {
      throw new ValueError(
        op,
        `[${shape.join(", ")}] is no shape: ${s} is not a non-negative integer`,
        "sizes are 0, 1, 2, …",
      );
    }
  }
}
