import { full, ops, type Tensor, ValueError, zeros } from "@revnet-zero/tensor";
import { type Assumption, countSelected, packSelected, unpackSelected } from "./select.ts";

// Exact multiplication of whole numbers by n/d. The product is rounded down, and what the rounding takes away, a digit to the
// base d, is kept; the digit to the base n that the product has room for is taken from what is kept. So a factor costs
// log2(d/n) bits an element, and one above 1 gives some back. Digits lie in an asymmetric numeral system: one word (the head) an
// element, and bytes that overflow from it.
// Source: Maclaurin et al. 2015 (arXiv:1502.03492), algorithm 3, for the buffer; Zhang et al. 2021 (arXiv:2103.16211), section
// 3.2, for the order, which keeps the product within one unit of v · n/d; Duda 2013 (arXiv:1311.2540) for the digits. We
// differ: quotients are rounded down for negative numbers too, and the head spills before it overflows.

/** Heads between multiplications are at least this, and below 256 times it. */
const LOWEST = 2 ** 23;
/** Numerators and denominators lie below: then a head loses less than 2^-8 bits of its digits to rounding. */
export const RATIO_LIMIT: number = 2 ** 15;

/**
 * 2^26.5, rounded: no product of it with powers of a ratio comes near an end of the range, where heads would move bytes to and
 * fro, and spill more than they take in.
 */
const FIRST = 94906266;

/** The head of a stream's buffer before the first multiplication. */
export const makeHead = (stream: Tensor): Tensor => full(stream.shape, FIRST, { dtype: "i32", engine: stream.engine });

export interface Product {
  /** The product, within one unit of v · n/d. */
  readonly value: Tensor;
  readonly head: Tensor;
}
export interface Multiplied extends Product {
  /** u8: what overflowed from the head. */
  readonly bytes: Tensor;
}

const floorDivide = (x: Tensor, y: Tensor): Tensor => x.apply(ops.floorDivide, [x, y], undefined);
/** x = quotient · y + rest. */
function divide(x: Tensor, y: Tensor): { readonly quotient: Tensor; readonly rest: Tensor } {
  const quotient = floorDivide(x, y);
  return { quotient, rest: x.sub(quotient.mul(y)) };
}

/** Few do while factors are 1 on average. */
const moving: Assumption = { text: "no byte leaves the head of an information buffer", count: () => 0 };

/** Where normalisation puts the bytes of heads that are too large, and finds those of heads that are too small. */
interface Bytes {
  spill(bytes: Tensor, selected: Tensor, count: number): void;
  pull(selected: Tensor, count: number): Tensor;
}

/** Forward: bytes are kept; there are none to be had, and zeros serve. */
class Kept implements Bytes {
  readonly #lists: Tensor[] = [];
  spill(bytes: Tensor, selected: Tensor, count: number): void {
    this.#lists.push(packSelected(bytes, selected, count, "u8"));
  }
  pull(selected: Tensor): Tensor {
    return selected.mul(0);
  }
  all(like: Tensor): Tensor {
    const [first, ...rest] = this.#lists;
    return first === undefined ? zeros([0], { dtype: "u8", engine: like.engine }) : first.concat(rest, 0);
  }
}

/** Backward: the last byte kept is the first that is wanted; the zeros that served are spilled again, and dropped. */
class Replayed implements Bytes {
  readonly #bytes: Tensor;
  #end: number;
  constructor(bytes: Tensor) {
    this.#bytes = bytes;
    this.#end = bytes.size;
  }
  spill(): void {}
  pull(selected: Tensor, count: number): Tensor {
    this.#end -= count;
    if (this.#end < 0) throw new ValueError("reversible", "the information buffer has too few bytes", outOfStep);
    return unpackSelected(this.#bytes.narrow(0, this.#end, count), selected);
  }
  finish(): void {
    if (this.#end !== 0)
      throw new ValueError("reversible", `the information buffer has ${this.#end} bytes left`, outOfStep);
  }
}
const outOfStep = "undo multiplications last in, first out, with the ratio and the bytes that each had and gave";

/**
 * The heads in [low, 256 · low), by moving whole bytes: one and the same number in the two parts. Of heads that spill two
 * bytes the first goes first, so that pulling, where all that are too small take one a time, meets them in reverse.
 */
function normalise(head: Tensor, low: Tensor, bytes: Bytes): Tensor {
  const { engine } = head;
  // 256 · low may be 2^31, of which the wrapped sum is the largest number.
  const isMoving = engine.scope(() => head.greater(low.mul(256).sub(1)).logicalOr(head.less(low)).cast("i32"));
  if (countSelected(isMoving, moving) === 0) return head;
  let x = head;
  const least = (shift: number): Tensor => x.shiftRight(shift).greaterEqual(low).cast("i32");
  const spills = [16, 8].map(least);
  for (const selected of spills) {
    const count = countSelected(selected, moving);
    if (count === 0) continue;
    bytes.spill(x.bitwiseAnd(255), selected, count);
    x = x.shiftRight(selected.mul(8));
  }
  // Two bytes at most, and a look whether that was enough.
  for (let round = 0; round < 3; round++) {
    const selected = x.less(low).cast("i32");
    const count = countSelected(selected, moving);
    if (count === 0) return x;
    x = x.shiftLeft(selected.mul(8)).add(bytes.pull(selected, count));
  }
  throw new ValueError("reversible", "the head of an information buffer is too small", outOfStep);
}

/** One multiplication; its inverse is the one by d/n with the bytes the other way round. */
function rescale(v: Tensor, n: Tensor, d: Tensor, head: Tensor, bytes: Bytes): Product {
  const one = v.fullOf([], LOWEST, "i32");
  const [lowN, lowD] = [floorDivide(one, n), floorDivide(one, d)];
  const room = divide(normalise(head, lowN.mul(n), bytes), n);
  // v = q d + r, so that v n + digit = q n d + (r n + digit): all below 2^31.
  const whole = divide(v, d);
  const last = divide(whole.rest.mul(n).add(room.rest), d);
  const value = whole.quotient.mul(n).add(last.quotient);
  const pushed = normalise(room.quotient, lowD, bytes).mul(d).add(last.rest);
  return { value, head: normalise(pushed, one, bytes) };
}

/**
 * v · n/d of i32 numbers, exactly reversible: n and d are i32 tensors that broadcast to v, from 1 to 2^15 - 1. The product must
 * fit into 32 bits, which the caller sees to.
 */
export function multiply(v: Tensor, n: Tensor, d: Tensor, head: Tensor): Multiplied {
  return v.engine.scope(() => {
    const kept = new Kept();
    const product = rescale(v, n, d, head, kept);
    return { ...product, bytes: kept.all(v) };
  });
}

/** Undoes the last `multiply`: give what it gave. */
export function undoMultiply({ value, head, bytes }: Multiplied, n: Tensor, d: Tensor): Product {
  return value.engine.scope(() => {
    const replayed = new Replayed(bytes);
    const product = rescale(value, d, n, head, replayed);
    replayed.finish();
    return product;
  });
}
