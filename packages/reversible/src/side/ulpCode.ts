import { ops, type Tensor } from "@revnet-zero/tensor";
import { packCodes, unpackCodes } from "./pack.ts";
import { type Assumption, countSelected, packSelected, unpackSelected } from "./select.ts";

// How far a reconstruction is from what it should be, in units in the last place: two bits for each element that is off by one
// unit or none, and a word for each of the few that are off by more. Then any nearly right reconstruction is the right one.

export interface UlpCode {
  /** i32, sixteen elements a word: 0, 1, 2 for one unit below, none, and one above; 3 for a distance in the list. */
  readonly codes: Tensor;
  /** i32: the distances beyond one unit, in row-major order. */
  readonly escapes: Tensor;
}

const WIDTH = 2;
const ESCAPED = 3;

/** Language models have 2 to 5 in a thousand. With none, estimates would leave out what packing and unpacking need. */
const far: Assumption = {
  text: "one rebuilt element of 256 is off by more than one unit in the last place",
  count: (elements) => Math.ceil(elements / 256),
};

const ranks = (x: Tensor): Tensor => x.apply(ops.toOrdered, [x], undefined);

/** What leads from `near` to `exact` (f32): the difference of their ranks, which wraps and so is always enough. */
export function encodeUlps(exact: Tensor, near: Tensor): UlpCode {
  const { engine } = exact;
  return engine.scope(() => {
    const distance = engine.scope(() => ranks(exact).sub(ranks(near)));
    // In a scope, before the list is made: so that a step's peak is not the list's doing, which has some length or none.
    const isFar = engine.scope(() => {
      const up = distance.add(1);
      // Not by its size: the smallest integer has none.
      return up.lessEqual(2).logicalAnd(up.greaterEqual(0)).logicalNot().cast("i32");
    });
    const codes = packCodes(isFar.greater(0).where(ESCAPED, distance.add(1)), WIDTH);
    return { codes, escapes: packSelected(distance, isFar, countSelected(isFar, far), "i32") };
  });
}

/** The tensor that `encodeUlps` was given as exact, bit for bit. */
export function decodeUlps(near: Tensor, { codes, escapes }: UlpCode): Tensor {
  return near.engine.scope(() => {
    const code = unpackCodes(codes, WIDTH, near.size).reshape(near.shape);
    const isFar = code.equal(ESCAPED).cast("i32");
    // First, for the same reason.
    const listed = unpackSelected(escapes, isFar);
    const distance = code.sub(1).mul(isFar.mul(-1).add(1)).add(listed);
    const rank = ranks(near).add(distance);
    return rank.apply(ops.fromOrdered, [rank], undefined);
  });
}

/** Bytes of a code. */
export const ulpCodeBytes = ({ codes, escapes }: UlpCode): number => codes.bytes + escapes.bytes;
