import * as e from "../expr/expr.ts";
import type { ElementwiseOp } from "../op.ts";
import { flat, sameDType, smooth, smoothByOutput, toBool } from "./derive.ts";

type Body = (x: e.Expr) => e.Expr;
interface Extra {
  readonly domain?: readonly [number, number];
  readonly doc: string;
}

const float = (name: string, body: Body, extra: Extra): ElementwiseOp =>
  smooth({ name, arity: 1, meta: sameDType(name, "float"), body: ([x]) => body(x!), ...extra });
const byOutput = (name: string, body: Body, partial: (y: e.Expr) => e.Expr, extra: Extra): ElementwiseOp =>
  smoothByOutput({ name, arity: 1, meta: sameDType(name, "float"), body: ([x]) => body(x!), ...extra }, partial);
const step = (name: string, body: Body, doc: string): ElementwiseOp =>
  flat({ name, arity: 1, meta: sameDType(name, "float"), body: ([x]) => body(x!), doc });

export const neg: ElementwiseOp = smooth({
  name: "neg",
  arity: 1,
  meta: sameDType("neg"),
  body: ([x]) => e.neg(x!),
  doc: "-x",
});
export const abs: ElementwiseOp = smooth({
  name: "abs",
  arity: 1,
  meta: sameDType("abs"),
  body: ([x]) => e.abs(x!),
  doc: "|x|; gradient 0 at 0",
});
export const exp: ElementwiseOp = byOutput("exp", e.exp, (y) => y, { doc: "e^x" });
export const expm1: ElementwiseOp = byOutput("expm1", e.expm1, (y) => e.add(y, 1), {
  doc: "e^x - 1, accurate near 0",
});
export const log: ElementwiseOp = float("log", e.log, { domain: [0.2, 3], doc: "natural logarithm" });
export const log1p: ElementwiseOp = float("log1p", e.log1p, { domain: [-0.5, 3], doc: "log(1 + x), accurate near 0" });
export const sqrt: ElementwiseOp = byOutput("sqrt", e.sqrt, (y) => e.div(0.5, y), {
  domain: [0.2, 3],
  doc: "square root",
});
export const rsqrt: ElementwiseOp = byOutput(
  "rsqrt",
  (x) => e.div(1, e.sqrt(x)),
  (y) => e.mul(-0.5, e.mul(y, e.mul(y, y))),
  { domain: [0.2, 3], doc: "1 / sqrt(x)" },
);
export const reciprocal: ElementwiseOp = byOutput(
  "reciprocal",
  (x) => e.div(1, x),
  (y) => e.neg(e.mul(y, y)),
  { domain: [0.2, 3], doc: "1 / x" },
);
export const square: ElementwiseOp = float("square", (x) => e.mul(x, x), { doc: "x * x" });
export const sin: ElementwiseOp = float("sin", e.sin, { doc: "sine of radians" });
export const cos: ElementwiseOp = float("cos", e.cos, { doc: "cosine of radians" });
export const tanh: ElementwiseOp = byOutput("tanh", e.tanh, (y) => e.sub(1, e.mul(y, y)), {
  doc: "hyperbolic tangent",
});
export const sigmoid: ElementwiseOp = byOutput("sigmoid", e.sigmoid, (y) => e.mul(y, e.sub(1, y)), {
  doc: "1 / (1 + e^-x)",
});
export const erf: ElementwiseOp = float("erf", e.erf, { doc: "error function" });
export const relu: ElementwiseOp = float("relu", (x) => e.select(e.le(x, 0), 0, x), {
  doc: "max(x, 0); gradient 0 at 0; NaN stays NaN",
});

/**
 * Source: Hendrycks & Gimpel 2016 (arXiv:1606.08415), the tanh approximation x/2 · (1 + tanh u), which is x · sigmoid(2u): that
 * loses nothing where the tangent is near -1.
 */
export const gelu: ElementwiseOp = float(
  "gelu",
  (x) => {
    const slope = 2 * Math.sqrt(2 / Math.PI);
    return e.mul(x, e.sigmoid(e.mul(x, e.add(slope, e.mul(slope * 0.044715, e.mul(x, x))))));
  },
  { doc: "GELU, tanh form" },
);
export const geluExact: ElementwiseOp = float(
  "geluExact",
  (x) => e.mul(e.mul(0.5, x), e.add(1, e.erf(e.mul(Math.SQRT1_2, x)))),
  { doc: "GELU, x times the normal distribution function" },
);
export const silu: ElementwiseOp = float("silu", (x) => e.mul(x, e.sigmoid(x)), { doc: "x * sigmoid(x) (swish)" });
export const softplus: ElementwiseOp = float("softplus", (x) => e.add(e.max(x, 0), e.log1p(e.exp(e.neg(e.abs(x))))), {
  doc: "log(1 + e^x) without overflow",
});

export const sign: ElementwiseOp = flat({
  name: "sign",
  arity: 1,
  meta: sameDType("sign"),
  body: ([x]) => e.sign(x!),
  doc: "-1, 0 or 1",
});
export const floor: ElementwiseOp = step("floor", e.floor, "largest integer not above x");
export const ceil: ElementwiseOp = step("ceil", e.ceil, "smallest integer not below x");
export const trunc: ElementwiseOp = step("trunc", e.trunc, "x without its fraction");
export const round: ElementwiseOp = step("round", e.rint, "nearest integer, ties to even");
export const isNan: ElementwiseOp = flat({
  name: "isNan",
  arity: 1,
  meta: toBool("isNan"),
  body: ([x]) => e.not(e.eq(x!, x!)),
  doc: "true where x is not a number",
});
export const finite: ElementwiseOp = flat({
  name: "finite",
  arity: 1,
  meta: toBool("finite"),
  body: ([x]) => e.eq(e.sub(x!, x!), 0),
  doc: "true where x is neither NaN nor infinite",
});
export const logicalNot: ElementwiseOp = flat({
  name: "logicalNot",
  arity: 1,
  meta: sameDType("logicalNot", "bool"),
  body: ([x]) => e.not(x!),
  doc: "true where x is false",
});
export const bitwiseNot: ElementwiseOp = flat({
  name: "bitwiseNot",
  arity: 1,
  meta: sameDType("bitwiseNot", "int"),
  body: ([x]) => e.bitNot(x!),
  doc: "every bit inverted",
});
