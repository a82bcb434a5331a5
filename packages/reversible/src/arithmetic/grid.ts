import { dispatch, ops, type Tensor, ValueError, zeros } from "@revnet-zero/tensor";
import { noteCounts } from "../health.ts";
import { lacksValues } from "../lacksValues.ts";
import type { StoredArithmetic, StreamArithmetic } from "./arithmetic.ts";
import { refuseFixedPoint } from "./float.ts";
import { combineRecorded, combineTerms, opposite } from "./linear.ts";
import { type AddOnce, addTimes, removeTimes } from "./wrapping.ts";

const donating = { donates: true };

export interface GridOptions {
  readonly fractionBits: number;
}

/** Throws when one of `outside` elements (a scalar) left the range, where the backend can be asked at once. */
function refuseOutside(outside: Tensor, fractionBits: number): void {
  if (lacksValues(outside.engine) || !outside.engine.backend.isSynchronous) return;
  const count = outside.itemSync();
  if (count === 0) return;
  throw new ValueError(
    "reversible",
    `${count} elements of a grid stream left ±2^${24 - fractionBits}, where float32 sums are exact`,
    "use fewer fractionBits, or mode exact where the backend has integers",
  );
}

/**
 * float32 numbers that are multiples of 2^-s: as exact as integers while none exceeds 2^(24-s), for backends without
 * integers. A stream that leaves the range is an error where the backend can be read at once, and a count in `health()`
 * everywhere.
 */
export function gridArithmetic({ fractionBits }: GridOptions): StreamArithmetic {
  const addOnce: AddOnce = (stream, f, { sign, counts }) => {
    const [sum, counted] = dispatch(
      stream.engine,
      ops.gridAdd,
      [stream, f.cast("f32")],
      { fractionBits, sign },
      donating,
    );
    stream.dispose();
    noteCounts(counts, counted!);
    return { stream: sum! };
  };
  const inRange = (stream: Tensor): Tensor => {
    stream.engine.scope(() => {
      const isInside = stream.abs().lessEqual(2 ** (24 - fractionBits));
      refuseOutside(isInside.logicalNot().cast("i32").sum(), fractionBits);
    });
    return stream;
  };
  return {
    name: "float32 grid streams",
    isExact: true,
    remembers: false,
    dtype: "f32",
    enter: (x) => snap(x, fractionBits),
    read: (stream) => stream.detach(),
    add: (stream, increment, { times, counts }) => {
      const own = zeros([1, 3], { dtype: "i32", engine: stream.engine });
      const sum = addTimes(addOnce, stream, increment, { times, counts: { record: own, row: 0 } });
      refuseOutside(own.narrow(1, 1, 1).reshape([]), fractionBits);
      noteCounts(counts, own);
      return sum;
    },
    remove: (stream, increment, options) => removeTimes(addOnce, stream, increment, options),
    // Term by term, and back in reverse, so that every sum on the way is in range and undone exactly.
    combine: (stream, sign, terms) =>
      terms.reduce((sum, term) => inRange(combineTerms(sum, 1, [term])), negated(stream, sign)),
    separate: (stream, sign, terms) =>
      [...opposite(sign, terms)].reverse().reduce((sum, term) => combineTerms(sum, 1, [term]), negated(stream, sign)),
    scale: refuseScale,
    unscale: refuseScale,
  };
}

/** sign · stream, with zeros that are not negative: adding 0 changes nothing else. */
function negated(stream: Tensor, sign: 1 | -1): Tensor {
  if (sign === 1) return stream;
  const [negative] = dispatch(stream.engine, ops.neg, [stream], undefined, donating);
  stream.dispose();
  const [sum] = dispatch(negative!.engine, ops.add, [negative!, negative!.fullOf([], 0)], undefined, donating);
  negative!.dispose();
  return sum!;
}

function snap(x: Tensor, fractionBits: number): Tensor {
  const f = refuseFixedPoint(x).cast("f32");
  return f.apply(ops.snapToGrid, [f], { fractionBits });
}

function refuseScale(): never {
  throw new ValueError(
    "reversible",
    "grid streams cannot undo a multiplication: several numbers are rounded to one product",
    'use mode "exact", whose information buffer keeps what is lost, or "float"',
  );
}

/** The function of `gridArithmetic`, recorded. */
export function storedGrid({ fractionBits }: GridOptions): StoredArithmetic {
  return {
    dtype: "f32",
    enter: (x) => snap(x, fractionBits),
    read: (stream) => stream.alias(),
    add: (stream, increment, times) => {
      const q = snap(increment, fractionBits);
      return stream.add(times === 1 ? q : q.mul(times));
    },
    combine: (stream, sign, terms) => combineRecorded(stream, sign, terms).add(0),
    scale: refuseScale,
  };
}
