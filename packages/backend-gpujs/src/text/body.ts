import { expr } from "@revnet-zero/tensor";
import { literal, type Source, type Value } from "./source.ts";
import * as words from "./words.ts";

type Word = words.Word;
type Text = Extract<Value, { readonly text: string }>;

const float = (text: string): Text => ({ kind: "float", text });
const truth = (s: Source, condition: string): Text => ({ kind: "bool", text: s.let(`(${condition}) ? 1 : 0`) });

/** The device's own function where it is good, else ours. */
const native =
  (name: string, own: string) =>
  (s: Source, a: string): string =>
    s.hasGoodFunctions ? `Math.${name}(${a})` : `${own}(${a})`;
const call =
  (name: string) =>
  (_: Source, a: string): string =>
    `${name}(${a})`;

type FloatUnary = Exclude<expr.UnaryOp, "fixed" | "bits" | "fromBits" | "toFloat" | "not" | "bitNot">;
const floatUnary: { readonly [K in FloatUnary]: (s: Source, a: string) => string } = {
  neg: (_, a) => `-${a}`,
  abs: call("Math.abs"),
  sign: call("signOf"),
  exp: native("exp", "ownExp"),
  expm1: native("expm1", "ownExpm1"),
  log: native("log", "ownLog"),
  log1p: native("log1p", "ownLog1p"),
  sqrt: call("Math.sqrt"),
  sin: native("sin", "ownSin"),
  cos: native("cos", "ownCos"),
  tanh: native("tanh", "ownTanh"),
  // The exponential of what is not positive never overflows.
  sigmoid: (s, a) => {
    const e = s.let(native("exp", "ownExp")(s, s.let(`-Math.abs(${a})`)));
    return `(${a} >= 0 ? 1 : ${e}) / (1 + ${e})`;
  },
  erf: call("ownErf"),
  floor: call("Math.floor"),
  ceil: (_, a) => `-Math.floor(-${a})`,
  trunc: call("truncate"),
  rint: call("halfToEven"),
};

const refuse =
  (op: string) =>
  (s: Source, a: Word): Word =>
    words.fixed(s, unaryFloat(s, op as FloatUnary, words.toFloat(s, a)));

const unaryFloat = (s: Source, op: FloatUnary, a: string): string => s.let(floatUnary[op](s, a));

/** Integer forms; a function of an integer that is no integer is rounded back, as nobody asks for one. */
const intUnary: { readonly [K in FloatUnary]: (s: Source, a: Word) => Word } = {
  neg: words.negative,
  abs: words.magnitude,
  sign: (s, a) => {
    const positive = words.choose(s, `${a.high} > 0 || ${a.low} > 0`, words.word(1), words.word(0));
    return words.choose(s, `${a.high} < 0`, words.word(-1), positive);
  },
  floor: (_, a) => a,
  ceil: (_, a) => a,
  trunc: (_, a) => a,
  rint: (_, a) => a,
  exp: refuse("exp"),
  expm1: refuse("expm1"),
  log: refuse("log"),
  log1p: refuse("log1p"),
  sqrt: refuse("sqrt"),
  sin: refuse("sin"),
  cos: refuse("cos"),
  tanh: refuse("tanh"),
  sigmoid: refuse("sigmoid"),
  erf: refuse("erf"),
};

const infix =
  (op: string) =>
  (_: Source, a: string, b: string): string =>
    `${a} ${op} ${b}`;
type Arithmetic = Exclude<expr.BinaryOp, "eq" | "lt" | "le" | "and" | "or" | "xor" | `shift${string}`>;
const floatBinary: { readonly [K in Arithmetic]: (s: Source, a: string, b: string) => string } = {
  add: infix("+"),
  sub: infix("-"),
  mul: infix("*"),
  div: infix("/"),
  mod: (_, a, b) => `floorModulo(${a}, ${b})`,
  pow: (s, a, b) => (s.hasGoodFunctions ? `Math.pow(${a}, ${b})` : `ownPow(${a}, ${b})`),
  min: (s, a, b) => (s.hasGoodFunctions ? `Math.min(${a}, ${b})` : `lesser(${a}, ${b})`),
  max: (s, a, b) => (s.hasGoodFunctions ? `Math.max(${a}, ${b})` : `greater(${a}, ${b})`),
  atan2: (_, a, b) => `Math.atan2(${a}, ${b})`,
};

const throughFloat =
  (op: "pow" | "atan2") =>
  (s: Source, a: Word, b: Word): Word =>
    words.fixed(s, s.let(floatBinary[op](s, words.toFloat(s, a), words.toFloat(s, b))));
type IntBinary = Exclude<expr.BinaryOp, "eq" | "lt" | "le">;
const intBinary: { readonly [K in IntBinary]: (s: Source, a: Word, b: Word) => Word } = {
  add: (s, a, b) => words.sum(s, a, b, "+"),
  sub: (s, a, b) => words.sum(s, a, b, "-"),
  mul: words.product,
  div: words.quotient,
  mod: words.remainder,
  min: (s, a, b) => words.choose(s, words.isLess(a, b), a, b),
  max: (s, a, b) => words.choose(s, words.isLess(a, b), b, a),
  pow: throughFloat("pow"),
  atan2: throughFloat("atan2"),
  and: (s, a, b) => words.bitwise(s, a, b, "and"),
  or: (s, a, b) => words.bitwise(s, a, b, "or"),
  xor: (s, a, b) => words.bitwise(s, a, b, "xor"),
  shiftLeft: words.shiftLeft,
  shiftRight: (s, a, b) => words.shiftRight(s, a, b, false),
  shiftRightLogical: (s, a, b) => words.shiftRight(s, a, b, true),
};

/** Of truth values. */
const boolBinary: { readonly [K in expr.BinaryOp]?: (a: string, b: string) => string } = {
  and: (a, b) => `${a} > 0.5 && ${b} > 0.5`,
  or: (a, b) => `${a} > 0.5 || ${b} > 0.5`,
  xor: (a, b) => `${a} !== ${b}`,
  add: (a, b) => `${a} + ${b} > 0.5`,
  mul: (a, b) => `${a} * ${b} > 0.5`,
  sub: (a, b) => `${a} !== ${b}`,
  min: (a, b) => `${a} > 0.5 && ${b} > 0.5`,
  max: (a, b) => `${a} > 0.5 || ${b} > 0.5`,
};

const comparisons = {
  eq: { text: (a: string, b: string): string => `${a} === ${b}`, word: words.equals },
  lt: { text: (a: string, b: string): string => `${a} < ${b}`, word: words.isLess },
  le: {
    text: (a: string, b: string): string => `${a} <= ${b}`,
    word: (a: Word, b: Word): string => `${words.isLess(a, b)} || (${words.equals(a, b)})`,
  },
} as const;
const isComparison = (op: string): op is keyof typeof comparisons => Object.hasOwn(comparisons, op);

/** Prints a scalar body into statements: the value it has for `args`. A node that occurs twice is computed once. */
export function printBody(s: Source, body: expr.Expr, args: readonly Value[]): Value {
  const types = args.map((v) => v.kind);
  const known = new Map<string, Value>();

  const typeOf = (e: expr.Expr, hint: Value["kind"]): Value["kind"] => {
    const own = expr.scalarType(e, types);
    return own === "constant" ? hint : own;
  };

  const visit = (e: expr.Expr, hint: Value["kind"]): Value => {
    if (e.kind === "argument") return args[e.index]!;
    const type = typeOf(e, hint);
    if (e.kind === "constant") return constant(s, e.value, type);
    const key = `${type} ${JSON.stringify(e, exactly)}`;
    const found = known.get(key) ?? compute(e, type);
    known.set(key, found);
    return found;
  };

  const compute = (e: Exclude<expr.Expr, { kind: "argument" | "constant" }>, type: Value["kind"]): Value => {
    switch (e.kind) {
      case "unary": {
        const operand = visit(e.a, e.op === "fixed" || e.op === "bits" ? "float" : typeOf(e.a, type));
        return unary(s, e.op, operand);
      }
      case "binary": {
        const a = expr.scalarType(e.a, types);
        const kind = a !== "constant" ? a : typeOf(e.b, type === "bool" ? "float" : type);
        return binary(s, e.op, visit(e.a, kind), visit(e.b, kind));
      }
      case "select": {
        const condition = visit(e.condition, "bool");
        const chosen = s.letValue(visit(e.b, type));
        const other = visit(e.a, type);
        s.if(isTrue(condition), () => s.assign(chosen, other));
        return chosen;
      }
    }
  };
  return visit(body, "float");
}

/** JSON has no infinities, no NaN and no -0. */
const exactly = (_: string, v: unknown): unknown =>
  typeof v === "number" && (!Number.isFinite(v) || Object.is(v, -0)) ? `number ${1 / v === -Infinity ? "-0" : v}` : v;

function constant(s: Source, v: number, type: Value["kind"]): Value {
  if (type === "int") return s.letValue(words.word(v));
  if (type === "bool") return { kind: "bool", text: s.let(v === 0 ? "0" : "1") };
  return float(Number.isFinite(v) ? literal(v) : s.let(nonFinite(v)));
}

/** Infinities and NaN have no literal in the languages that kernels become. */
function nonFinite(v: number): string {
  if (Number.isNaN(v)) return "Math.sqrt(num(-1))";
  return v > 0 ? "num(3e38) * num(10)" : "num(-3e38) * num(10)";
}

const isTrue = (v: Value): string => (v.kind === "int" ? `${v.high} !== 0 || ${v.low} !== 0` : `${v.text} > 0.5`);

function unary(s: Source, op: expr.UnaryOp, a: Value): Value {
  switch (op) {
    case "toFloat":
      return a.kind === "int" ? float(words.toFloat(s, a)) : float(a.text);
    case "fixed":
      return words.fixed(s, numberOf(s, a));
    case "bits": {
      const x = numberOf(s, a);
      return { kind: "int", high: s.let(`wordOf(${x}, 0)`), low: s.let(`wordOf(${x}, 1)`) };
    }
    case "fromBits": {
      const w = wordOfValue(s, a);
      return float(s.let(`floatOf(${w.high}, ${w.low})`));
    }
    case "not":
      return truth(s, a.kind === "int" ? words.equals(a, words.word(0)) : `${a.text} === 0`);
    case "bitNot":
      return words.inverted(s, wordOfValue(s, a));
    default:
      if (a.kind === "int") return intUnary[op](s, a);
      // Of a truth value: what is not zero is true.
      if (a.kind === "bool")
        return op === "neg" || op === "abs" || op === "sign" ? a : truth(s, `${unaryFloat(s, op, a.text)} !== 0`);
      return float(unaryFloat(s, op, a.text));
  }
}

function binary(s: Source, op: expr.BinaryOp, a: Value, b: Value): Value {
  if (isComparison(op)) {
    const { text, word } = comparisons[op];
    return truth(
      s,
      a.kind === "int" || b.kind === "int" ? word(wordOfValue(s, a), wordOfValue(s, b)) : text(a.text, b.text),
    );
  }
  if (a.kind === "int" || b.kind === "int") return intBinary[op](s, wordOfValue(s, a), wordOfValue(s, b));
  if (a.kind === "bool" && b.kind === "bool") {
    const rule = boolBinary[op];
    if (rule !== undefined) return truth(s, rule(a.text, b.text));
  }
  if (op === "and" || op === "or" || op === "xor" || op.startsWith("shift"))
    throw new Error(`${op} of floats has no meaning`);
  return float(s.let(floatBinary[op as Arithmetic](s, a.text, b.text)));
}

const numberOf = (s: Source, v: Value): string => (v.kind === "int" ? words.toFloat(s, v) : v.text);
const wordOfValue = (s: Source, v: Value): Word => (v.kind === "int" ? v : words.fromWhole(s, v.text));
