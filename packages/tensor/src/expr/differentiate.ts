import {
  add,
  type BinaryOp,
  cos,
  div,
  type Expr,
  eq,
  exp,
  lift,
  log,
  lt,
  mul,
  neg,
  pow,
  select,
  sin,
  sub,
  type UnaryOp,
} from "./expr.ts";

/** d op(a) / da, from the operand and the node itself. `undefined`: flat almost everywhere, or not a real function. */
const unaryRules: { readonly [K in UnaryOp]: ((a: Expr, node: Expr) => Expr) | undefined } = {
  neg: () => lift(-1),
  abs: (a) => select(lt(0, a), 1, select(lt(a, 0), -1, 0)),
  exp: (_, y) => y,
  expm1: (_, y) => add(y, 1),
  log: (a) => div(1, a),
  log1p: (a) => div(1, add(1, a)),
  sqrt: (_, y) => div(0.5, y),
  sin: (a) => cos(a),
  cos: (a) => neg(sin(a)),
  tanh: (_, y) => sub(1, mul(y, y)),
  sigmoid: (_, y) => mul(y, sub(1, y)),
  erf: (a) => mul(2 / Math.sqrt(Math.PI), exp(neg(mul(a, a)))),
  toFloat: () => lift(1),
  sign: undefined,
  floor: undefined,
  ceil: undefined,
  trunc: undefined,
  rint: undefined,
  fixed: undefined,
  not: undefined,
  bitNot: undefined,
  bits: undefined,
  fromBits: undefined,
};

type Partials = (a: Expr, b: Expr) => readonly [Expr, Expr];
/** min and max share the gradient evenly where the operands are equal. */
const half = (first: Expr, a: Expr, b: Expr): readonly [Expr, Expr] => [
  select(first, 1, select(eq(a, b), 0.5, 0)),
  select(first, 0, select(eq(a, b), 0.5, 1)),
];

const binaryRules: { readonly [K in BinaryOp]: Partials | undefined } = {
  add: () => [lift(1), lift(1)],
  sub: () => [lift(1), lift(-1)],
  mul: (a, b) => [b, a],
  div: (a, b) => [div(1, b), neg(div(div(a, b), b))],
  // d/db a^b is a^b log a, and 0 where a is 0 (the limit for b > 0).
  pow: (a, b) => [select(eq(b, 0), 0, mul(b, pow(a, sub(b, 1)))), select(eq(a, 0), 0, mul(pow(a, b), log(a)))],
  min: (a, b) => half(lt(a, b), a, b),
  max: (a, b) => half(lt(b, a), a, b),
  mod: (a, b) => [lift(1), neg({ kind: "unary", op: "floor", a: div(a, b) })],
  atan2: (a, b) => {
    const square = add(mul(a, a), mul(b, b));
    return [div(b, square), neg(div(a, square))];
  },
  eq: undefined,
  lt: undefined,
  le: undefined,
  and: undefined,
  or: undefined,
  xor: undefined,
  shiftLeft: undefined,
  shiftRight: undefined,
  shiftRightLogical: undefined,
};

/** The partial derivative of `e` by argument `index`, as one expression of the same arguments. */
export function differentiate(e: Expr, index: number): Expr {
  switch (e.kind) {
    case "argument":
      return lift(e.index === index ? 1 : 0);
    case "constant":
      return lift(0);
    case "unary":
      return mul(differentiate(e.a, index), unaryRules[e.op]?.(e.a, e) ?? 0);
    case "binary": {
      const rule = binaryRules[e.op];
      if (rule === undefined) return lift(0);
      const [da, db] = rule(e.a, e.b);
      return add(mul(differentiate(e.a, index), da), mul(differentiate(e.b, index), db));
    }
    case "select":
      return select(e.condition, differentiate(e.a, index), differentiate(e.b, index));
  }
}
