import { f32, f32x4, i32, type Local, type ModuleBuilder, type V128, v128 } from "../assembler/index.ts";
import type { Multiply } from "../multiply.ts";
import { VectorCode, type Vectors } from "../vector/vectors.ts";
import { sumColumns } from "./columns.ts";
import { beside, eachVector, loadRow, mapRow, RowTotal, sumRow } from "./row.ts";
import { rowAt, rowFunction, splatAt, splatBits, wordAt } from "./rowFunction.ts";

// Layer norm (with a mean) and RMS norm (without), rows of `size` floats. Two passes over a row for the statistics; the
// parameters' gradients are sums over rows in their order. Source: Ba et al. 2016, Zhang & Sennrich 2019.

type L = Local<"i32">;

const centred = (w: VectorCode, x: Vectors, mean: V128 | undefined): Vectors =>
  mean === undefined ? x : w.sub(x, beside(w, mean));

interface Moments {
  /** The mean rounded, and what rounding took from it. */
  readonly mean: V128;
  readonly rest: V128;
  /** Σ (x - mean)² with the rounded mean. */
  readonly squares: V128;
}
const none = { mean: undefined, rest: undefined };

/** A rounded mean alone would be felt where a row hardly varies: the second pass also finds how far off it is. */
function moments(v: VectorCode, from: L, size: L, count: V128, sum: V128): Moments {
  const { f } = v;
  const mean = f.let(f32x4.div(sum, count));
  const [off, squares] = [RowTotal.sum(v), RowTotal.sum(v)];
  eachVector(v, size, [from], (w, [at], part) => {
    const level = centred(w, loadRow(w, at!), mean);
    off.take(w, level, part);
    squares.take(w, w.mul(level, level), part);
  });
  const rest = f.let(f32x4.div(off.value(), count));
  // An infinite mean has no rest.
  f.set(rest, v128.and(rest, f32x4.eq(rest, rest)));
  return { mean, rest, squares: squares.value() };
}

/** Where a norm reads and writes; `n` and `eps` are bits of floats. */
export interface NormPlaces {
  readonly weight: L;
  readonly bias: L;
  readonly y: L;
  readonly means: L;
  readonly inverses: L;
  readonly size: L;
  readonly n: L;
  readonly eps: L;
}
export const normPlaces = ["weight", "bias", "y", "means", "inverses", "size", "n", "eps"] as const;

/** What the first pass over a row sums: its elements, for their mean; without a mean their squares. */
export const firstTerm = (w: VectorCode, x: Vectors, hasMean: boolean): Vectors => (hasMean ? x : w.mul(x, x));

/**
 * y = (x - mean) / σ · weight + bias of the row that lies at `from`, and its statistics. `from` may be the row of y. `total` is the sum of
 * first terms, in every lane.
 */
export function normRow(v: VectorCode, row: L, from: L, hasMean: boolean, places: NormPlaces, total: V128): void {
  const { f } = v;
  const { weight, bias, y, means, inverses, size, n, eps } = places;
  const count = splatBits(v, n);
  const { mean, rest, squares } = hasMean ? moments(v, from, size, count, total) : { ...none, squares: total };
  const square = f.let(f32x4.div(squares, count));
  if (rest !== undefined) f.set(square, f32x4.sub(square, f32x4.mul(rest, rest)));
  const inverse = f.let(f32x4.div(f32x4.const(1), f32x4.sqrt(f32x4.add(square, splatBits(v, eps)))));
  if (mean !== undefined) f.do(f32.store(wordAt(means, row), f32x4.lane(f32x4.add(mean, rest), 0)));
  f.do(f32.store(wordAt(inverses, row), f32x4.lane(inverse, 0)));
  mapRow(v, size, rowAt(y, row, size), [from, weight, ...(hasMean ? [bias] : [])], (w, [a, scale, shift]) => {
    const level = centred(w, centred(w, a!, mean), rest);
    const normalised = w.mul(w.mul(level, beside(w, inverse)), scale!);
    return shift === undefined ? normalised : w.add(normalised, shift);
  });
}

export function emitNorm(m: ModuleBuilder, multiply: Multiply, name: string, hasMean: boolean): void {
  rowFunction(m, multiply, name, ["x", ...normPlaces], (v, row, { x, ...places }) => {
    const from = v.f.let(rowAt(x, row, places.size));
    const total = sumRow(v, places.size, [from], (w, [a]) => firstTerm(w, a!, hasMean));
    normRow(v, row, from, hasMean, places, total);
  });
}

/** dx = (g·weight - mean of it - x̂ · mean of (g·weight·x̂)) / σ. */
export function emitNormBackward(m: ModuleBuilder, multiply: Multiply, name: string, hasMean: boolean): void {
  const parameters = ["x", "weight", "means", "inverses", "g", "dx", "size", "n"] as const;
  rowFunction(m, multiply, name, parameters, (v, row, { x, weight, means, inverses, g, dx, size, n }) => {
    const { f } = v;
    const [from, slope] = [f.let(rowAt(x, row, size)), f.let(rowAt(g, row, size))];
    const count = splatBits(v, n);
    const mean = hasMean ? splatAt(v, wordAt(means, row)) : undefined;
    const inverse = splatAt(v, wordAt(inverses, row));
    const hat = (w: VectorCode, a: Vectors): Vectors => w.mul(centred(w, a, mean), beside(w, inverse));
    const shift = hasMean
      ? f.let(
          f32x4.div(
            sumRow(v, size, [slope, weight], (w, [s, k]) => w.mul(s!, k!)),
            count,
          ),
        )
      : undefined;
    const dot = sumRow(v, size, [slope, weight, from], (w, [s, k, a]) => w.mul(w.mul(s!, k!), hat(w, a!)));
    const along = f.let(f32x4.div(dot, count));
    mapRow(v, size, rowAt(dx, row, size), [slope, weight, from], (w, [s, k, a]) => {
      const scaled = w.mul(s!, k!);
      const level = shift === undefined ? scaled : w.sub(scaled, beside(w, shift));
      return w.mul(w.sub(level, w.mul(hat(w, a!), beside(w, along))), beside(w, inverse));
    });
  });
}

/** Sums over rows of g·x̂ (and of g): units are columns. */
export function emitNormParameters(m: ModuleBuilder, multiply: Multiply, name: string, hasMean: boolean): void {
  const types = Array.from({ length: 11 }, () => "i32" as const);
  m.function(name, types, (f, _scratch, from, to, x, means, inverses, g, dw, db, rows, size) => {
    const v = new VectorCode(f, 4, multiply);
    const targets = hasMean ? [dw, db] : [dw];
    sumColumns(v, { from, to }, rows, targets, (w, row, columnBytes) => {
      const [a, s] = [x, g].map((base) => loadRow(w, f.let(i32.add(rowAt(base, row, size), columnBytes)))) as [
        Vectors,
        Vectors,
      ];
      const mean = hasMean ? splatAt(w, wordAt(means, row)) : undefined;
      const hat = w.mul(centred(w, a, mean), beside(w, splatAt(w, wordAt(inverses, row))));
      return hasMean ? [w.mul(s, hat), s] : [w.mul(s, hat)];
    });
  });
}
