import { expr } from "@revnet-zero/tensor";

// A second reading of scalar bodies, independent of every backend's printer: the value in float64, and a bound on
// what evaluating the body node by node with a given roundoff may add to it.

export interface Evaluated {
  readonly value: number;
  /** Bound on the rounding error of a plain evaluation. */
  readonly error: number;
}

/** ∫ 2/√π e^-t² dt by ten-point Gauss-Legendre on panels of 1/4: error below 1e-15, no series shared with a backend. */
export function erf(x: number): number {
  if (Number.isNaN(x)) return x;
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x); // 1 - erf(6) is 2e-17
  const panels = Math.max(1, Math.ceil(a * 4));
  const h = a / panels / 2;
  let sum = 0;
  for (let p = 0; p < panels; p++) {
    const middle = (2 * p + 1) * h;
    for (const [node, weight] of gauss) {
      sum += weight * (Math.exp(-((middle - node * h) ** 2)) + Math.exp(-((middle + node * h) ** 2)));
    }
  }
  return Math.sign(x) * Math.min(1, (2 * h * sum) / Math.sqrt(Math.PI));
}

const gauss: readonly (readonly [number, number])[] = [
  [0.1488743389816312, 0.2955242247147529],
  [0.4333953941292472, 0.2692667193099964],
  [0.6794095682990244, 0.219086362515982],
  [0.8650633666889845, 0.1494513491505806],
  [0.9739065285171717, 0.0666713443086881],
];

function halfToEven(v: number): number {
  const below = Math.floor(v);
  const rest = v - below;
  return rest === 0.5 ? 2 * Math.round(v / 2) : rest < 0.5 ? below : below + 1;
}

const toInt32 = (v: number): number =>
  Number.isNaN(v) ? 0 : Math.max(-2147483648, Math.min(2147483647, halfToEven(v)));

/** The value whose word as one type is another's as the other. */
function wordOf(v: number, from: "f32" | "i32", to: "f32" | "i32"): number {
  const view = new DataView(new ArrayBuffer(4));
  if (from === "f32") view.setFloat32(0, v);
  else view.setInt32(0, v);
  return to === "f32" ? view.getFloat32(0) : view.getInt32(0);
}

const truth = (v: boolean): number => (v ? 1 : 0);

const unary: { readonly [K in expr.UnaryOp]: (a: number) => number } = {
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
  sigmoid: (a) => (a < 0 ? Math.exp(a) / (1 + Math.exp(a)) : 1 / (1 + Math.exp(-a))),
  erf,
  floor: Math.floor,
  ceil: Math.ceil,
  trunc: Math.trunc,
  rint: halfToEven,
  fixed: toInt32,
  toFloat: (a) => a,
  not: (a) => truth(a === 0),
  bitNot: (a) => ~a,
  bits: (a) => wordOf(a, "f32", "i32"),
  fromBits: (a) => wordOf(a, "i32", "f32"),
};

const binary: { readonly [K in expr.BinaryOp]: (a: number, b: number) => number } = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  mod: (a, b) => a - Math.floor(a / b) * b,
  pow: (a, b) => a ** b,
  min: Math.min,
  max: Math.max,
  atan2: Math.atan2,
  eq: (a, b) => truth(a === b),
  lt: (a, b) => truth(a < b),
  le: (a, b) => truth(a <= b),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shiftLeft: (a, b) => a << b,
  shiftRight: (a, b) => a >> b,
  shiftRightLogical: (a, b) => a >>> b,
};

/** Integer arithmetic modulo 2^32, as a signed word. */
const wrapped: ReadonlySet<string> = new Set(["add", "sub", "mul", "neg", "abs"]);
const wrap32 = (op: string, a: number, b: number, value: number): number =>
  op === "mul" ? Math.imul(a, b) : value | 0;

/** Nodes whose float result is exact: no rounding is charged. */
const exact: ReadonlySet<string> = new Set([
  "neg",
  "abs",
  "sign",
  "floor",
  "ceil",
  "trunc",
  "rint",
  "fixed",
  "not",
  "bits",
  "fromBits",
]);
const exactBinary: ReadonlySet<string> = new Set(["min", "max", "eq", "lt", "le", "and", "or", "xor"]);

/** Functions that no library has to the last place of float64. */
const inexact: { readonly [K in expr.UnaryOp]?: number } = { erf: 3e-15 };

/** The value of a body in float64, and the error that rounding every node to `unit` may cause. */
export function evaluateBody(
  e: expr.Expr,
  args: readonly number[],
  types: readonly expr.ScalarType[],
  unit: number,
): Evaluated {
  const visit = (x: expr.Expr): Evaluated => {
    switch (x.kind) {
      case "argument":
        return { value: args[x.index]!, error: 0 };
      case "constant":
        return { value: x.value, error: Math.abs(x.value) * unit * (isPowerOfTwo(x.value) ? 0 : 1) };
      case "unary": {
        const a = visit(x.a);
        const f = unary[x.op];
        const isInt = expr.scalarType(x.a, types) === "int";
        const value = isInt && wrapped.has(x.op) ? wrap32(x.op, a.value, 0, f(a.value)) : f(a.value);
        const own = exact.has(x.op) || isInt ? (x.op === "toFloat" ? unit : 0) : unit + (inexact[x.op] ?? 0);
        return { value, error: spread(value, a, f) + own * finiteSize(value) };
      }
      case "binary": {
        const [a, b] = [visit(x.a), visit(x.b)];
        const f = binary[x.op];
        const isInt = [x.a, x.b].some((s) => expr.scalarType(s, types) === "int");
        if (isInt) {
          const plain = f(a.value, b.value);
          return { value: wrapped.has(x.op) ? wrap32(x.op, a.value, b.value, plain) : plain, error: 0 };
        }
        const value = f(a.value, b.value);
        // The quotient inside `mod` may fall on either side of a whole number.
        const slack = x.op === "mod" ? unit * Math.abs(a.value) : 0;
        const error =
          spread(value, { ...a, error: a.error + slack }, (v) => f(v, b.value)) +
          spread(value, b, (v) => f(a.value, v));
        return { value, error: error + (exactBinary.has(x.op) || isScaling(x) ? 0 : unit * finiteSize(value)) };
      }
      case "select": {
        const condition = visit(x.condition);
        const [a, b] = [visit(x.a), visit(x.b)];
        const chosen = condition.value !== 0 ? a : b;
        // A comparison of inexact numbers may go either way.
        const jump = condition.error > 0 ? Math.abs(a.value - b.value) : 0;
        return { value: chosen.value, error: jump > 0 ? a.error + b.error + jump : chosen.error };
      }
    }
  };
  return visit(e);
}

/** How far `f` moves when its operand does. */
function spread(value: number, { value: at, error }: Evaluated, f: (v: number) => number): number {
  if (error === 0 || !Number.isFinite(value)) return 0;
  const moved = Math.max(Math.abs(f(at - error) - value), Math.abs(f(at + error) - value));
  return Number.isNaN(moved) ? Number.POSITIVE_INFINITY : moved;
}

const finiteSize = (v: number): number => (Number.isFinite(v) ? Math.abs(v) : 0);
const isPowerOfTwo = (v: number): boolean => v === 0 || Number.isInteger(Math.log2(Math.abs(v)));
const isScaling = (x: { readonly op: string; readonly a: expr.Expr; readonly b: expr.Expr }): boolean =>
  x.op === "mul" && [x.a, x.b].some((f) => f.kind === "constant" && isPowerOfTwo(f.value));

/**
 * Whether a correctly rounded result is demanded: at most one node of the body rounds, and IEEE 754 says how. Then
 * every backend gives the same bits.
 */
export function isExactBody(e: expr.Expr, types: readonly expr.ScalarType[]): boolean {
  let roundings = 0;
  let isIEEE = true;
  const visit = (x: expr.Expr): void => {
    if (x.kind === "unary") {
      visit(x.a);
      if (x.op === "toFloat" || x.op === "sqrt") roundings++;
      else if (!exact.has(x.op) && x.op !== "bitNot") isIEEE = false;
    } else if (x.kind === "binary") {
      visit(x.a);
      visit(x.b);
      const isInt = [x.a, x.b].some((s) => expr.scalarType(s, types) === "int");
      if (isInt || exactBinary.has(x.op) || isScaling(x)) return;
      if (["add", "sub", "mul", "div"].includes(x.op)) roundings++;
      else isIEEE = false;
    } else if (x.kind === "select") {
      visit(x.condition);
      visit(x.a);
      visit(x.b);
    }
  };
  visit(e);
  return isIEEE && roundings <= 1;
}
