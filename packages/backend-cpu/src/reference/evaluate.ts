import { expr } from "@revnet-zero/tensor";
import { erf } from "../erf.ts";
import { bitsOf, floatOf } from "../floatWord.ts";
import { fixed, rint } from "../rounding.ts";
import { sigmoid } from "../sigmoid.ts";

type Unary = (a: number) => number;
type Binary = (a: number, b: number) => number;

const unary: { readonly [K in expr.UnaryOp]: Unary } = {
  neg: (a) => -a,
  abs: Math.abs,
  sign: Math.sign,
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  sqrt: Math.sqrt,
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  sigmoid,
  erf,
  floor: Math.floor,
  ceil: Math.ceil,
  trunc: Math.trunc,
  rint,
  fixed,
  toFloat: (a) => a,
  not: (a) => (a === 0 ? 1 : 0),
  bitNot: (a) => ~a,
  bits: bitsOf,
  fromBits: floatOf,
};

const float: { readonly [K in expr.BinaryOp]: Binary } = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  mod: (a, b) => a - Math.floor(a / b) * b,
  pow: (a, b) => a ** b,
  min: Math.min,
  max: Math.max,
  atan2: Math.atan2,
  eq: (a, b) => (a === b ? 1 : 0),
  lt: (a, b) => (a < b ? 1 : 0),
  le: (a, b) => (a <= b ? 1 : 0),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shiftLeft: (a, b) => a << b,
  shiftRight: (a, b) => a >> b,
  shiftRightLogical: (a, b) => a >>> b,
};

/** Integer arithmetic wraps modulo 2^32. */
const int: { readonly [K in expr.BinaryOp]: Binary } = {
  ...float,
  add: (a, b) => (a + b) | 0,
  sub: (a, b) => (a - b) | 0,
  mul: Math.imul,
};

/** The value of a body for one element, node by node: the meaning that every printer must reproduce. */
export function evaluate(e: expr.Expr, args: readonly number[], types: readonly expr.ScalarType[]): number {
  switch (e.kind) {
    case "argument":
      return args[e.index]!;
    case "constant":
      return e.value;
    case "unary": {
      const a = evaluate(e.a, args, types);
      const isInt = expr.scalarType(e.a, types) === "int";
      return isInt && (e.op === "neg" || e.op === "abs") ? unary[e.op](a) | 0 : unary[e.op](a);
    }
    case "binary": {
      const table = expr.scalarType(e.a, types) === "int" || expr.scalarType(e.b, types) === "int" ? int : float;
      return table[e.op](evaluate(e.a, args, types), evaluate(e.b, args, types));
    }
    case "select":
      return evaluate(e.condition, args, types) !== 0 ? evaluate(e.a, args, types) : evaluate(e.b, args, types);
  }
}
