import type { expr, Printer } from "@revnet-zero/tensor";

type Real = "float" | "double";

/** A number as C writes it: exact in the type it is printed for. */
function constant(value: number, type: expr.ScalarType, real: Real): string {
  if (type !== "float") return value === -2147483648 ? "(-2147483647 - 1)" : value < 0 ? `(${value})` : String(value);
  if (Number.isNaN(value)) return `(${real})NAN`;
  const v = real === "float" ? Math.fround(value) : value;
  if (!Number.isFinite(v)) return v > 0 ? `(${real})INFINITY` : `(-(${real})INFINITY)`;
  const digits = Object.is(v, -0) ? "-0" : String(v);
  const text = `${/[.e]/.test(digits) ? digits : `${digits}.0`}${real === "float" ? "f" : ""}`;
  return v < 0 || Object.is(v, -0) ? `(${text})` : text;
}

/** CUDA C. Bodies of float64 operands are in double, all others in float; what differs between the two is a letter. */
export function cudaPrinter(real: Real): Printer {
  const f = real === "float" ? "f" : "";
  const call = (name: string) => (a: string) => `${name}${f}(${a})`;
  // Two functions whose float32 form is off by more than the contract allows.
  const inDouble = (name: string) => (a: string, b: string) => `(${real})${name}((double)${a}, (double)${b})`;
  const infix = (op: string) => (a: string, b: string) => `(${a} ${op} ${b})`;
  const bits = { and: infix("&"), or: infix("|"), xor: infix("^") };
  const shifts = {
    shiftLeft: (a: string, b: string) => `(int)((u32)${a} << (${b} & 31))`,
    shiftRight: (a: string, b: string) => `(${a} >> (${b} & 31))`,
    shiftRightLogical: (a: string, b: string) => `((u32)${a} >> (${b} & 31))`,
  };
  const comparisons = { eq: infix("=="), lt: infix("<"), le: infix("<=") };
  const extrema = {
    min: (a: string, b: string) => `lesser(${a}, ${b})`,
    max: (a: string, b: string) => `greater(${a}, ${b})`,
  };
  const wrapping = (op: string) => (a: string, b: string) => `(int)((u32)${a} ${op} (u32)${b})`;
  const mod = (a: string, b: string): string => `floorMod(${a}, ${b})`;
  return {
    constant: (value, type) => constant(value, type, real),
    argument: (i) => `x${i}`,
    select: (c, a, b) => `(${c} ? ${a} : ${b})`,
    unary: {
      neg: (a) => `(-${a})`,
      abs: call("fabs"),
      sign: (a) => `signOf(${a})`,
      exp: real === "float" ? (a) => `accurateExp(${a})` : call("exp"),
      expm1: call("expm1"),
      log: call("log"),
      log1p: call("log1p"),
      sqrt: call("sqrt"),
      sin: call("sin"),
      cos: call("cos"),
      tanh: call("tanh"),
      sigmoid: (a) => `sigmoidOf(${a})`,
      erf: call("erf"),
      floor: call("floor"),
      ceil: call("ceil"),
      trunc: call("trunc"),
      rint: call("rint"),
      fixed: (a) => `fixedPoint(${a})`,
      toFloat: (a) => `(${real})${a}`,
      not: (a) => `(${a} == 0)`,
      bitNot: (a) => `(~${a})`,
      bits: (a) => `(int)__float_as_uint((float)${a})`,
      fromBits: (a) => `(${real})__uint_as_float((u32)${a})`,
    },
    intUnary: { neg: (a) => `(int)(0u - (u32)${a})`, abs: (a) => `(${a} < 0 ? (int)(0u - (u32)${a}) : ${a})` },
    float: {
      add: infix("+"),
      sub: infix("-"),
      mul: infix("*"),
      div: infix("/"),
      mod,
      pow: inDouble("powerOf"),
      atan2: inDouble("atan2"),
      ...extrema,
      ...comparisons,
      ...bits,
      ...shifts,
    },
    int: {
      add: wrapping("+"),
      sub: wrapping("-"),
      mul: wrapping("*"),
      div: (a, b) => `quotient(${a}, ${b})`,
      mod,
      pow: inDouble("powerOf"),
      atan2: inDouble("atan2"),
      ...extrema,
      ...comparisons,
      ...bits,
      ...shifts,
    },
  };
}
