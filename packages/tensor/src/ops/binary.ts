import * as e from "../expr/expr.ts";
import type { ElementwiseOp } from "../op.ts";
import { flat, sameDType, smooth, toBool } from "./derive.ts";

type Body = (x: e.Expr, y: e.Expr) => e.Expr;

function arithmetic(
  name: string,
  body: Body,
  doc: string,
  { only, domain }: { only?: "float"; domain?: readonly [number, number] } = {},
): ElementwiseOp {
  return smooth({
    name,
    arity: 2,
    meta: sameDType(name, only),
    body: ([x, y]) => body(x!, y!),
    doc,
    ...(domain === undefined ? {} : { domain }),
  });
}

const comparison = (name: string, body: Body, doc: string): ElementwiseOp =>
  flat({ name, arity: 2, meta: toBool(name), body: ([x, y]) => body(x!, y!), doc });
const bits = (name: string, only: "int" | "bool", body: Body, doc: string): ElementwiseOp =>
  flat({ name, arity: 2, meta: sameDType(name, only), body: ([x, y]) => body(x!, y!), doc });

export const add: ElementwiseOp = arithmetic("add", e.add, "x + y; integers wrap");
export const sub: ElementwiseOp = arithmetic("sub", e.sub, "x - y; integers wrap");
export const mul: ElementwiseOp = arithmetic("mul", e.mul, "x * y; integers wrap");
export const div: ElementwiseOp = arithmetic("div", e.div, "x / y", { only: "float", domain: [0.5, 2] });
export const mod: ElementwiseOp = arithmetic("mod", e.mod, "remainder with the sign of y", {
  only: "float",
  domain: [0.3, 0.9],
});
export const pow: ElementwiseOp = arithmetic("pow", e.pow, "x^y", { only: "float", domain: [0.3, 2] });
export const minimum: ElementwiseOp = arithmetic("minimum", e.min, "the smaller; ties share the gradient");
export const maximum: ElementwiseOp = arithmetic("maximum", e.max, "the larger; ties share the gradient");
export const atan2: ElementwiseOp = arithmetic("atan2", e.atan2, "angle of the point (y = first, x = second)", {
  only: "float",
  domain: [0.3, 2],
});

/** Integers only; the quotient of the smallest integer and -1 wraps, and what a divisor of 0 gives is not said. */
export const floorDivide: ElementwiseOp = bits(
  "floorDivide",
  "int",
  // One less than the quotient towards zero where what that leaves is not what floorMod leaves; x less that remainder would wrap.
  (x, y) => e.sub(e.div(x, y), e.select(e.eq(e.mod(x, y), e.sub(x, e.mul(e.div(x, y), y))), 0, 1)),
  "x / y rounded down",
);
export const floorMod: ElementwiseOp = bits("floorMod", "int", e.mod, "what floorDivide leaves, with the sign of y");

export const equal: ElementwiseOp = comparison("equal", e.eq, "x = y");
export const notEqual: ElementwiseOp = comparison("notEqual", (x, y) => e.not(e.eq(x, y)), "x ≠ y (true for NaN)");
export const less: ElementwiseOp = comparison("less", e.lt, "x < y");
export const lessEqual: ElementwiseOp = comparison("lessEqual", e.le, "x ≤ y");
export const greater: ElementwiseOp = comparison("greater", (x, y) => e.lt(y, x), "x > y");
export const greaterEqual: ElementwiseOp = comparison("greaterEqual", (x, y) => e.le(y, x), "x ≥ y");

export const logicalAnd: ElementwiseOp = bits("logicalAnd", "bool", e.and, "both true");
export const logicalOr: ElementwiseOp = bits("logicalOr", "bool", e.or, "at least one true");
export const logicalXor: ElementwiseOp = bits("logicalXor", "bool", e.xor, "exactly one true");
export const bitwiseAnd: ElementwiseOp = bits("bitwiseAnd", "int", e.and, "bits set in both");
export const bitwiseOr: ElementwiseOp = bits("bitwiseOr", "int", e.or, "bits set in either");
export const bitwiseXor: ElementwiseOp = bits("bitwiseXor", "int", e.xor, "bits set in exactly one");
export const shiftLeft: ElementwiseOp = bits("shiftLeft", "int", e.shiftLeft, "x · 2^y, wrapping");
export const shiftRight: ElementwiseOp = bits("shiftRight", "int", e.shiftRight, "x / 2^y rounded down");
