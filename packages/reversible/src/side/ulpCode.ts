import { ops, type Tensor } from "@revnet-zero/tensor";
import { packCodes, unpackCodes } from "./pack.ts";
import { countSelected, packSelected, unpackSelected } from "./select.ts";

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

const ranks = (x: Tensor): Tensor => x.apply(ops.toOrdered, [x], undefined);

/** What leads from `near` to `exact` (f32): the difference of their ranks, which wraps and so is always enough. */
export function encodeUlps(exact: Tensor, near: Tensor): UlpCode {
  return exact.engine.scope(() => {
    const distance = ranks(exact).sub(ranks(near));
    // Not by its size: the smallest integer has none.
    const isFar = distance.add(1).lessEqual(2).logicalAnd(distance.add(1).greaterEqual(0)).logicalNot().cast("i32");
    const code = isFar.greater(0).where(ESCAPED, distance.add(1));
    return {
      codes: packCodes(code, WIDTH),
      escapes: packSelected(
        distance,
        isFar,
        countSelected(isFar, "rebuilt element is off by more than one unit in the last place"),
        "i32",
      ),
    };
  });
}

/** The tensor that `encodeUlps` was given as exact, bit for bit. */
export function decodeUlps(near: Tensor, { codes, escapes }: UlpCode): Tensor {
  return near.engine.scope(() => {
    const code = unpackCodes(codes, WIDTH, near.size).reshape(near.shape);
    const isFar = code.equal(ESCAPED).cast("i32");
    const distance = code.sub(1).mul(isFar.mul(-1).add(1)).add(unpackSelected(escapes, isFar));
    const rank = ranks(near).add(distance);
    return rank.apply(ops.fromOrdered, [rank], undefined);
  });
}

/** Bytes of a code. */
export const ulpCodeBytes = ({ codes, escapes }: UlpCode): number => codes.bytes + escapes.bytes;
