import { expr } from "@revnet-zero/tensor";
import { f32x4, i32x4, type V128, v128 } from "../assembler/index.ts";
import { erf, exp, expm1, log, log1p, sigmoid, tanh } from "./functions.ts";
import { cos, sin } from "./trigonometry.ts";
import type { VectorCode, Vectors } from "./vectors.ts";

type Expr = expr.Expr;

// An elementwise op's scalar body as vector instructions. Truth values are masks: all bits of a lane or none.

type Write1 = (v: VectorCode, a: Vectors) => Vectors;
type Write2 = (v: VectorCode, a: Vectors, b: Vectors) => Vectors;
type UnaryTable = { readonly [K in expr.UnaryOp]?: Write1 };
type BinaryTable = { readonly [K in expr.BinaryOp]?: Write2 };

const one =
  (op: (a: V128) => V128): Write1 =>
  (v, a) =>
    v.unary(op, a);
const two =
  (op: (a: V128, b: V128) => V128): Write2 =>
  (v, a, b) =>
    v.binary(op, a, b);

const floatUnary: UnaryTable = {
  neg: one(f32x4.neg),
  abs: one(f32x4.abs),
  sqrt: one(f32x4.sqrt),
  floor: one(f32x4.floor),
  ceil: one(f32x4.ceil),
  trunc: one(f32x4.trunc),
  rint: one(f32x4.nearest),
  fixed: (v, a) => v.unary(i32x4.truncSat, v.unary(f32x4.nearest, a)),
  sign: (v, a) => {
    const signed = v.binary(v128.or, v.binary(v128.and, a, v.int(-2147483648)), v.float(1));
    const isNonzero = v.binary(v128.or, v.binary(f32x4.lt, a, v.float(0)), v.binary(f32x4.gt, a, v.float(0)));
    return v.select(isNonzero, signed, a); // zeros and NaN stay
  },
  toFloat: (_, a) => a,
  bits: (_, a) => a,
  exp,
  expm1,
  log,
  log1p,
  tanh,
  sigmoid,
  erf,
  sin,
  cos,
};
const intUnary: UnaryTable = {
  neg: one(i32x4.neg),
  abs: one(i32x4.abs),
  toFloat: one(f32x4.fromI32),
  bitNot: one(v128.not),
  fromBits: (_, a) => a,
};
const boolUnary: UnaryTable = {
  not: one(v128.not),
  toFloat: (v, a) => v.binary(v128.and, a, v.float(1)),
};
const floatBinary: BinaryTable = {
  add: two(f32x4.add),
  sub: two(f32x4.sub),
  mul: two(f32x4.mul),
  div: two(f32x4.div),
  min: two(f32x4.min),
  max: two(f32x4.max),
  eq: two(f32x4.eq),
  lt: two(f32x4.lt),
  le: two(f32x4.le),
};
const intBinary: BinaryTable = {
  add: two(i32x4.add),
  sub: two(i32x4.sub),
  mul: two(i32x4.mul),
  min: two(i32x4.minS),
  max: two(i32x4.maxS),
  eq: two(i32x4.eq),
  lt: two(i32x4.ltS),
  le: two(i32x4.leS),
  and: two(v128.and),
  or: two(v128.or),
  xor: two(v128.xor),
};
const boolBinary: BinaryTable = {
  and: two(v128.and),
  or: two(v128.or),
  xor: two(v128.xor),
  eq: (v, a, b) => v.unary(v128.not, v.binary(v128.xor, a, b)),
};
const unaryTables = { float: floatUnary, int: intUnary, bool: boolUnary } as const;
const binaryTables = { float: floatBinary, int: intBinary, bool: boolBinary } as const;

/** How to write a node's instruction; undefined when there is none, and the op stays with its scalar loop. */
export interface Written {
  readonly type: expr.ScalarType;
  readonly key: string;
  readonly write: (v: VectorCode, inputs: readonly Vectors[], memo: Map<string, Vectors>) => Vectors;
  /** Instructions, roughly: for the choice of how many vectors go side by side. */
  readonly cost: number;
  /** Whether V8 joins its vectors to 256 bits: no sine. */
  readonly isJoined: boolean;
}

const heavy: ReadonlySet<string> = new Set(["exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "sin", "cos"]);
const apart: ReadonlySet<string> = new Set(["sin", "cos"]);

/** The body as vector code, equal subexpressions computed once; undefined when an op of it has no vector form. */
export function vectorBody(body: Expr, args: readonly expr.ScalarType[]): Written | undefined {
  const known = new Map<string, Written | undefined>();
  const visit = (e: Expr, hint: expr.ScalarType): Written | undefined => {
    const own = expr.scalarType(e, args);
    const type = own === "constant" ? hint : own;
    if (e.kind === "argument")
      return { type, key: `x${e.index}`, write: (_, inputs) => inputs[e.index]!, cost: 0, isJoined: true };
    if (e.kind === "constant") return constant(e.value, type);
    const [children, make] = parts(e, type, args);
    const written = children.map(([child, as]) => visit(child, as));
    if (make === undefined || written.some((w) => w === undefined)) return undefined;
    const operands = written as Written[];
    const name = e.kind === "select" ? "select" : e.op;
    const key = `${name}:${children[children.length - 1]![1]}(${operands.map((o) => o.key).join()})`;
    if (!known.has(key)) {
      known.set(key, {
        type,
        key,
        isJoined: !apart.has(name) && operands.every((o) => o.isJoined),
        cost: (heavy.has(name) ? 20 : 1) + operands.reduce((sum, o) => sum + o.cost, 0),
        write: (v, inputs, memo) => {
          const ready = memo.get(key);
          if (ready !== undefined) return ready;
          const made = make(v, ...operands.map((o) => o.write(v, inputs, memo)));
          memo.set(key, made);
          return made;
        },
      });
    }
    return known.get(key);
  };
  return visit(body, "float");
}

function constant(value: number, type: expr.ScalarType): Written {
  const write = (v: VectorCode): Vectors =>
    type === "float" ? v.float(value) : v.int(type === "int" ? value : value === 0 ? 0 : -1);
  return { type, key: `${type}${Object.is(value, -0) ? "-0" : value}`, write, cost: 0, isJoined: true };
}

type Operand = readonly [Expr, expr.ScalarType];
type Make = (v: VectorCode, ...operands: Vectors[]) => Vectors;

/** A node's operands with the type each is read as, and its instruction. */
function parts(
  e: Exclude<Expr, { kind: "argument" | "constant" }>,
  type: expr.ScalarType,
  args: readonly expr.ScalarType[],
): readonly [readonly Operand[], Make | undefined] {
  if (e.kind === "select") {
    return [
      [
        [e.condition, "bool"],
        [e.a, type],
        [e.b, type],
      ],
      (v, c, a, b) => v.select(c!, a!, b!),
    ];
  }
  const a = expr.scalarType(e.a, args);
  if (e.kind === "unary") {
    const operand = a === "constant" ? (e.op === "fixed" ? "float" : type) : a;
    const write = unaryTables[operand][e.op];
    return [[[e.a, operand]], write && ((v, x) => write(v, x!))];
  }
  const b = expr.scalarType(e.b, args);
  const operand = a !== "constant" ? a : b !== "constant" ? b : type;
  if (operand === "int" && e.b.kind === "constant" && e.op in shifts) {
    const op = shifts[e.op as keyof typeof shifts];
    const by = e.b.value & 31;
    return [[[e.a, operand]], (v, x) => v.shift(op, x!, by)];
  }
  const write = binaryTables[operand][e.op];
  return [
    [
      [e.a, operand],
      [e.b, operand],
    ],
    write && ((v, x, y) => write(v, x!, y!)),
  ];
}

const shifts = { shiftLeft: i32x4.shl, shiftRight: i32x4.shrS, shiftRightLogical: i32x4.shrU } as const;
