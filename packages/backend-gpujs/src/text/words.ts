import type { Source, Value } from "./source.ts";

/** 32-bit words as two halves. Every operation is exact, modulo 2^32. */
export type Word = Extract<Value, { readonly kind: "int" }>;

/** A constant word. */
export function word(v: number): Word {
  const w = v | 0;
  return { kind: "int", high: `num(${w >> 16})`, low: `num(${w & 65535})` };
}

const of = (high: string, low: string): Word => ({ kind: "int", high, low });

/** a + b, or a - b. */
export function sum(s: Source, a: Word, b: Word, sign: "+" | "-"): Word {
  const { high, low } = plainSum(s, a, b, sign);
  return of(s.let(`sign16(${high})`), low);
}

/** The same before it wraps: the high half shows whether it does. */
export function plainSum(s: Source, a: Word, b: Word, sign: "+" | "-"): Word {
  const l = s.let(`${a.low} ${sign} ${b.low}`);
  const carry = s.let(`Math.floor(${l} * ${2 ** -16})`);
  return of(s.let(`${a.high} ${sign} ${b.high} + ${carry}`), s.let(`${l} - ${carry} * 65536`));
}

export function product(s: Source, a: Word, b: Word): Word {
  const [ah, bh] = [s.let(`wrap16(${a.high})`), s.let(`wrap16(${b.high})`)];
  const crossed = s.let(`productLow(${ah}, ${b.low}) + productLow(${bh}, ${a.low})`);
  return of(s.let(`sign16(productHigh(${a.low}, ${b.low}) + ${crossed})`), s.let(`productLow(${a.low}, ${b.low})`));
}

export const equals = (a: Word, b: Word): string => `${a.high} === ${b.high} && ${a.low} === ${b.low}`;
export const isLess = (a: Word, b: Word): string =>
  `${a.high} < ${b.high} || (${a.high} === ${b.high} && ${a.low} < ${b.low})`;

/** `a` where the condition holds, else `b`. */
export function choose(s: Source, condition: string, a: Word, b: Word): Word {
  const chosen = s.letValue(b) as Word;
  s.if(condition, () => s.assign(chosen, a));
  return chosen;
}

export const negative = (s: Source, a: Word): Word => sum(s, word(0), a, "-");
export const magnitude = (s: Source, a: Word): Word => choose(s, `${a.high} < 0`, negative(s, a), a);
export const inverted = (s: Source, a: Word): Word => of(s.let(`-1 - ${a.high}`), s.let(`65535 - ${a.low}`));

/** Bit by bit: a & b, and what follows from it and the sum. */
export function bitwise(s: Source, a: Word, b: Word, op: "and" | "or" | "xor"): Word {
  const half = (x: string, y: string): string => {
    const both = s.let(`and16(${x}, ${y})`);
    return op === "and" ? both : s.let(`${x} + ${y} - ${op === "or" ? "" : "2 * "}${both}`);
  };
  const high = half(s.let(`wrap16(${a.high})`), s.let(`wrap16(${b.high})`));
  return of(s.let(`sign16(${high})`), half(a.low, b.low));
}

/** The low five bits of a distance: whether it is 16 or more, and the power of two of the rest with its inverse. */
function distance(s: Source, b: Word): { readonly isHalf: string; readonly power: string; readonly inverse: string } {
  const bits = s.let(`${b.low} - Math.floor(${b.low} * ${2 ** -5}) * 32`);
  const rest = s.let(`${bits} - Math.floor(${bits} * ${2 ** -4}) * 16`);
  return { isHalf: `${bits} > 15.5`, power: s.let(`exp2i(${rest})`), inverse: s.let(`exp2i(-${rest})`) };
}

export function shiftLeft(s: Source, a: Word, b: Word): Word {
  const { isHalf, power } = distance(s, b);
  const from = choose(s, isHalf, of(a.low, "num(0)"), of(s.let(`wrap16(${a.high})`), a.low));
  const low = s.let(`${from.low} * ${power}`);
  const carry = s.let(`Math.floor(${low} * ${2 ** -16})`);
  return of(s.let(`sign16(wrap16(${from.high} * ${power}) + ${carry})`), s.let(`wrap16(${low})`));
}

/** x / 2^b rounded down; of the word without its sign where `isLogical`. */
export function shiftRight(s: Source, a: Word, b: Word, isLogical: boolean): Word {
  const { isHalf, power, inverse } = distance(s, b);
  const top = isLogical ? s.let(`wrap16(${a.high})`) : a.high;
  const above = isLogical ? s.let("num(0)") : s.let(`Math.floor(${a.high} * ${2 ** -16})`);
  const from = choose(s, isHalf, of(above, s.let(`wrap16(${top})`)), of(top, a.low));
  const high = s.let(`Math.floor(${from.high} * ${inverse})`);
  const rest = s.let(`${from.high} - ${high} * ${power}`);
  const low = s.let(`Math.floor(${from.low} * ${inverse}) + ${rest} * 65536 * ${inverse}`);
  return of(isLogical ? s.let(`sign16(${high})`) : high, low);
}

type Parts = { readonly quotient: Word; readonly rest: Word };

function unsignedParts(s: Source, a: Word, b: Word): Parts {
  const part = (k: number): string =>
    s.let(`divideWords(wrap16(${a.high}), ${a.low}, wrap16(${b.high}), ${b.low}, ${k})`);
  const signed = (k: number): Word => of(s.let(`sign16(${part(k)})`), part(k + 1));
  return { quotient: signed(0), rest: signed(2) };
}

/** The quotient rounded toward zero. What a divisor of 0 gives is not said. */
export function quotient(s: Source, a: Word, b: Word): Word {
  const { quotient: q } = unsignedParts(s, magnitude(s, a), magnitude(s, b));
  return choose(s, `(${a.high} < 0 && ${b.high} >= 0) || (${a.high} >= 0 && ${b.high} < 0)`, negative(s, q), q);
}

/** What the quotient rounded down leaves: it has the sign of the divisor. */
export function remainder(s: Source, a: Word, b: Word): Word {
  const { rest } = unsignedParts(s, magnitude(s, a), magnitude(s, b));
  const signed = choose(s, `${a.high} < 0`, negative(s, rest), rest);
  const differs = `(${signed.high} < 0 && ${b.high} >= 0) || (${signed.high} >= 0 && ${b.high} < 0)`;
  return choose(s, `(${signed.high} !== 0 || ${signed.low} !== 0) && (${differs})`, sum(s, signed, b, "+"), signed);
}

/** The number, rounded once: both halves are exact. */
export const toFloat = (s: Source, a: Word): string => s.let(`${a.high} * 65536 + ${a.low}`);

/** A whole number below 2^24 in magnitude. */
export function fromWhole(s: Source, v: string): Word {
  const high = s.let(`Math.floor(${v} * ${2 ** -16})`);
  return of(high, s.let(`wrap16(${v})`));
}

/** Half to even, saturated, NaN to 0. */
export const fixed = (s: Source, v: string): Word => of(s.let(`fixedHigh(${v})`), s.let(`fixedLow(${v})`));
