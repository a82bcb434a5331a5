/**
 * Scalar expressions: the body of an elementwise op, written once, differentiated here and printed by every backend.
 * A body is either in floats or in 32-bit integers, node by node; `scalarType` says which.
 */
export type Expr =
  | { readonly kind: "argument"; readonly index: number }
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "unary"; readonly op: UnaryOp; readonly a: Expr }
  | { readonly kind: "binary"; readonly op: BinaryOp; readonly a: Expr; readonly b: Expr }
  | { readonly kind: "select"; readonly condition: Expr; readonly a: Expr; readonly b: Expr };

/**
 * `rint` rounds half to even. `fixed` is `rint`, then saturation to int32, NaN to 0 (the quantisation of the
 * fixed-point streams). `toFloat` reads an integer or a truth value as a number. `not` is logical, `bitNot` bitwise.
 * `bits` reads the word of a float32 as an integer, `fromBits` an integer as such a word.
 */
export type UnaryOp =
  | "neg"
  | "abs"
  | "sign"
  | "exp"
  | "expm1"
  | "log"
  | "log1p"
  | "sqrt"
  | "sin"
  | "cos"
  | "tanh"
  | "sigmoid"
  | "erf"
  | "floor"
  | "ceil"
  | "trunc"
  | "rint"
  | "fixed"
  | "toFloat"
  | "not"
  | "bitNot"
  | "bits"
  | "fromBits";

/** Integer `+ - *` wrap modulo 2^32. `mod` has the sign of the divisor. Comparisons give truth values. */
export type BinaryOp =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "mod"
  | "pow"
  | "min"
  | "max"
  | "atan2"
  | "eq"
  | "lt"
  | "le"
  | "and"
  | "or"
  | "xor"
  | "shiftLeft"
  | "shiftRight"
  | "shiftRightLogical";

export type E = Expr | number;

export const lift = (x: E): Expr => (typeof x === "number" ? { kind: "constant", value: x } : x);
export const argument = (index: number): Expr => ({ kind: "argument", index });

const isConstant = (e: Expr, value?: number): e is { kind: "constant"; value: number } =>
  e.kind === "constant" && (value === undefined || e.value === value);

function unary(op: UnaryOp): (a: E) => Expr {
  return (a) => ({ kind: "unary", op, a: lift(a) });
}

function binary(op: BinaryOp): (a: E, b: E) => Expr {
  return (a, b) => ({ kind: "binary", op, a: lift(a), b: lift(b) });
}

type U = (a: E) => Expr;
type B = (a: E, b: E) => Expr;

export const abs: U = unary("abs");
export const sign: U = unary("sign");
export const exp: U = unary("exp");
export const expm1: U = unary("expm1");
export const log: U = unary("log");
export const log1p: U = unary("log1p");
export const sqrt: U = unary("sqrt");
export const sin: U = unary("sin");
export const cos: U = unary("cos");
export const tanh: U = unary("tanh");
export const sigmoid: U = unary("sigmoid");
export const erf: U = unary("erf");
export const floor: U = unary("floor");
export const ceil: U = unary("ceil");
export const trunc: U = unary("trunc");
export const rint: U = unary("rint");
export const fixed: U = unary("fixed");
export const toFloat: U = unary("toFloat");
export const not: U = unary("not");
export const bitNot: U = unary("bitNot");
export const bits: U = unary("bits");
export const fromBits: U = unary("fromBits");

export const mod: B = binary("mod");
export const pow: B = binary("pow");
export const min: B = binary("min");
export const max: B = binary("max");
export const atan2: B = binary("atan2");
export const eq: B = binary("eq");
export const lt: B = binary("lt");
export const le: B = binary("le");
export const and: B = binary("and");
export const or: B = binary("or");
export const xor: B = binary("xor");
export const shiftLeft: B = binary("shiftLeft");
export const shiftRight: B = binary("shiftRight");
export const shiftRightLogical: B = binary("shiftRightLogical");

// The four below drop neutral constants, so that generated derivatives stay as short as hand-written ones. `0 * x` is
// 0 also where x is infinite: a partial that is identically zero carries no gradient.
export function neg(a: E): Expr {
  const x = lift(a);
  return isConstant(x) ? lift(-x.value) : { kind: "unary", op: "neg", a: x };
}
export function add(a: E, b: E): Expr {
  const [x, y] = [lift(a), lift(b)];
  if (isConstant(x, 0)) return y;
  if (isConstant(y, 0)) return x;
  if (isConstant(x) && isConstant(y)) return lift(x.value + y.value);
  return { kind: "binary", op: "add", a: x, b: y };
}
export function sub(a: E, b: E): Expr {
  const [x, y] = [lift(a), lift(b)];
  if (isConstant(x, 0)) return neg(y);
  if (isConstant(y, 0)) return x;
  if (isConstant(x) && isConstant(y)) return lift(x.value - y.value);
  return { kind: "binary", op: "sub", a: x, b: y };
}
export function mul(a: E, b: E): Expr {
  const [x, y] = [lift(a), lift(b)];
  if (isConstant(x, 0) || isConstant(y, 0)) return lift(0);
  if (isConstant(x, 1)) return y;
  if (isConstant(y, 1)) return x;
  if (isConstant(x) && isConstant(y)) return lift(x.value * y.value);
  // A product with a choice is a choice of products: 0 on the branch not taken, even when the other factor is NaN.
  if (y.kind === "select") return select(y.condition, mul(x, y.a), mul(x, y.b));
  if (x.kind === "select") return select(x.condition, mul(x.a, y), mul(x.b, y));
  return { kind: "binary", op: "mul", a: x, b: y };
}
export function div(a: E, b: E): Expr {
  const [x, y] = [lift(a), lift(b)];
  if (isConstant(x, 0)) return x;
  if (isConstant(y, 1)) return x;
  return { kind: "binary", op: "div", a: x, b: y };
}
export function select(condition: E, a: E, b: E): Expr {
  const [c, x, y] = [lift(condition), lift(a), lift(b)];
  if (isConstant(x) && isConstant(y, x.value)) return x;
  return { kind: "select", condition: c, a: x, b: y };
}

/** The arguments an expression reads, ascending. */
export function argumentsOf(e: Expr): number[] {
  const found = new Set<number>();
  const visit = (x: Expr): void => {
    if (x.kind === "argument") found.add(x.index);
    else if (x.kind === "unary") visit(x.a);
    else if (x.kind === "binary") {
      visit(x.a);
      visit(x.b);
    } else if (x.kind === "select") {
      visit(x.condition);
      visit(x.a);
      visit(x.b);
    }
  };
  visit(e);
  return [...found].sort((a, b) => a - b);
}

/** The expression with argument `i` replaced by `values[i]`. */
export function substitute(e: Expr, values: readonly Expr[]): Expr {
  switch (e.kind) {
    case "argument":
      return values[e.index]!;
    case "constant":
      return e;
    case "unary":
      return { ...e, a: substitute(e.a, values) };
    case "binary":
      return { ...e, a: substitute(e.a, values), b: substitute(e.b, values) };
    case "select":
      return {
        kind: "select",
        condition: substitute(e.condition, values),
        a: substitute(e.a, values),
        b: substitute(e.b, values),
      };
  }
}

export type ScalarType = "float" | "int" | "bool";

const truths: ReadonlySet<string> = new Set(["eq", "lt", "le"]);

/** What kind of number a node is, given the arguments' kinds. A constant takes its neighbour's kind. */
export function scalarType(e: Expr, args: readonly ScalarType[]): ScalarType | "constant" {
  switch (e.kind) {
    case "argument":
      return args[e.index]!;
    case "constant":
      return "constant";
    case "unary":
      if (e.op === "fixed" || e.op === "bits") return "int";
      if (e.op === "toFloat" || e.op === "fromBits") return "float";
      if (e.op === "not") return "bool";
      return scalarType(e.a, args);
    case "binary": {
      if (truths.has(e.op)) return "bool";
      const a = scalarType(e.a, args);
      return a === "constant" ? scalarType(e.b, args) : a;
    }
    case "select": {
      const a = scalarType(e.a, args);
      return a === "constant" ? scalarType(e.b, args) : a;
    }
  }
}
