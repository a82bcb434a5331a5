import { type DType, type ElementwiseOp, elementwise, expr, sameShape } from "@revnet-zero/tensor";
import { isDense, withoutCopies } from "./copies.ts";
import { Liveness } from "./liveness.ts";
import type { ElementwiseCall, Instruction, Slot, SlotView } from "./program.ts";

type Expr = expr.Expr;

/** Operands one pass over memory may have. */
const MOST_INPUTS = 8;
/** Nodes of one scalar body: what is used twice is printed twice. */
const MOST_NODES = 128;

/** Types whose elements are a scalar body's own: nothing is rounded when one is stored and read again, `f32` apart. */
const scalars: { readonly [D in DType]?: expr.ScalarType } = { f32: "float", i32: "int", bool: "bool" };

/**
 * Joins an elementwise op to the one that reads its result, where that is the only reader, element by element: the result is
 * never written. The same bits: what was stored as f32 is rounded to f32 on its way. And no more memory: not where operands kept for
 * the reader would raise the program's peak.
 */
export function fuse(given: readonly Instruction[], results: readonly Slot[]): Instruction[] {
  const returned = new Set(results);
  const instructions: (Instruction | undefined)[] = withoutFills(given, returned);
  const liveness = new Liveness(instructions, returned);
  for (const [i, producer] of instructions.entries()) {
    if (producer?.kind !== "elementwise") continue;
    const j = onlyReader(instructions, i, producer, returned);
    const consumer = j === undefined ? undefined : instructions[j];
    if (j === undefined || consumer?.kind !== "elementwise") continue;
    const joined = join(instructions, [i, producer], [j, consumer]);
    if (joined === undefined) continue;
    const { slot } = producer.outputs[0]!;
    // Where the result is made in place, the buffer was there before or is there afterwards.
    const isOwn = ![...producer.inputs, ...consumer.outputs].some((v) => v.slot === slot);
    const reads = producer.inputs.map((v) => v.slot);
    if (!liveness.join(i, j, reads, isOwn ? slot : undefined)) continue;
    instructions[i] = undefined;
    instructions[j] = joined;
  }
  return withoutCopies(
    instructions.filter((x) => x !== undefined),
    returned,
  );
}

/** Numbers that a buffer was filled with become part of the bodies that read it; buffers that nobody reads then are not made. */
function withoutFills(given: readonly Instruction[], returned: ReadonlySet<Slot>): Instruction[] {
  const writers = new Map<Slot, number>();
  for (const { outputs } of given) for (const { slot } of outputs) writers.set(slot, (writers.get(slot) ?? 0) + 1);
  const values = new Map<Slot, number>();
  for (const instruction of given) {
    const [output] = instruction.outputs;
    if (instruction.kind !== "kernel" || instruction.name !== "fill" || writers.get(output!.slot) !== 1) continue;
    const { value } = instruction.attrs as { readonly value: number };
    if (Number.isFinite(value) && !Object.is(value, -0) && scalars[output!.dtype] !== undefined)
      values.set(output!.slot, output!.dtype === "f32" ? Math.fround(value) : value);
  }
  const constant = given.map((x) => (x.kind === "elementwise" ? withConstants(x, values) : x));
  const read = new Set(constant.flatMap((x) => x.inputs.map((v) => v.slot)));
  return constant.filter(({ outputs: [output] }) => {
    const isFill = output !== undefined && values.has(output.slot);
    return !isFill || read.has(output.slot) || returned.has(output.slot);
  });
}

function withConstants(call: ElementwiseCall, values: ReadonlyMap<Slot, number>): ElementwiseCall {
  const body = bodyOf(call);
  const inputs = call.inputs.filter((v) => !values.has(v.slot));
  if (body === undefined || inputs.length === call.inputs.length || inputs.length === 0) return call;
  let place = 0;
  const given = call.inputs.map((v) => {
    const value = values.get(v.slot);
    return value === undefined ? expr.argument(place++) : expr.lift(value);
  });
  const filled = expr.substitute(body, given);
  const types = inputs.map((v) => typeOf(v.dtype));
  if (types.includes(undefined) || !isTyped(filled, types as expr.ScalarType[])) return call;
  return { ...call, op: joinedOp(call.op.name, inputs.length, filled), attrs: undefined, inputs };
}

/** Whether every operation has an operand that says what kind of number it is on. */
function isTyped(e: Expr, types: readonly expr.ScalarType[]): boolean {
  switch (e.kind) {
    case "argument":
    case "constant":
      return true;
    case "unary":
      return expr.scalarType(e.a, types) !== "constant" && isTyped(e.a, types);
    case "binary":
      return (
        [e.a, e.b].some((x) => expr.scalarType(x, types) !== "constant") && [e.a, e.b].every((x) => isTyped(x, types))
      );
    case "select":
      return (
        [e.a, e.b].some((x) => expr.scalarType(x, types) !== "constant") &&
        [e.condition, e.a, e.b].every((x) => isTyped(x, types))
      );
  }
}

/** The one instruction that reads what `producer` wrote, before it is written over or at its end given up. */
function onlyReader(
  instructions: readonly (Instruction | undefined)[],
  i: number,
  producer: ElementwiseCall,
  returned: ReadonlySet<Slot>,
): number | undefined {
  const { slot } = producer.outputs[0]!;
  if (slot.kind !== "made") return undefined;
  let reader: number | undefined;
  for (let k = i + 1; k < instructions.length; k++) {
    const next = instructions[k];
    if (next === undefined) continue;
    if (next.inputs.some((v) => v.slot === slot)) {
      if (reader !== undefined) return undefined;
      reader = k;
    }
    if (next.outputs.some((v) => v.slot === slot)) return reader;
  }
  return returned.has(slot) ? undefined : reader;
}

function join(
  instructions: readonly (Instruction | undefined)[],
  [i, producer]: readonly [number, ElementwiseCall],
  [j, consumer]: readonly [number, ElementwiseCall],
): ElementwiseCall | undefined {
  const [value] = producer.outputs as [SlotView];
  const [output] = consumer.outputs as [SlotView];
  const isValue = (v: SlotView): boolean => v.slot === value.slot;
  // Element by element, from the same place.
  if (!sameShape(value.shape, output.shape)) return undefined;
  if (!consumer.inputs.filter(isValue).every((v) => isDense(v, output.shape))) return undefined;
  const isOverwritten = instructions
    .slice(i + 1, j)
    .some((k) => k?.outputs.some((o) => producer.inputs.some((v) => v.slot === o.slot)));
  if (isOverwritten) return undefined;
  // Where the result takes an operand's place, that operand must be read where it is written.
  if (!producer.inputs.every((v) => v.slot !== output.slot || isDense(v, output.shape))) return undefined;

  const inner = bodyOf(producer);
  const outer = bodyOf(consumer);
  const type = scalars[value.dtype];
  if (inner === undefined || outer === undefined || type === undefined) return undefined;
  const types = producer.inputs.map((v) => typeOf(v.dtype));
  if (types.includes(undefined) || expr.scalarType(inner, types as expr.ScalarType[]) !== type) return undefined;
  if (consumer.inputs.some((v) => typeOf(v.dtype) === undefined)) return undefined;

  const inputs: SlotView[] = [];
  const place = (v: SlotView): Expr => {
    const at = inputs.findIndex((x) => isSame(x, v));
    return expr.argument(at >= 0 ? at : inputs.push(v) - 1);
  };
  const given = expr.substitute(inner, producer.inputs.map(place));
  const stored = type === "float" ? expr.fromBits(expr.bits(given)) : given;
  const body = expr.substitute(
    outer,
    consumer.inputs.map((v) => (isValue(v) ? stored : place(v))),
  );
  if (inputs.length > MOST_INPUTS || nodesOf(body) > MOST_NODES) return undefined;
  return {
    kind: "elementwise",
    op: joinedOp(`${producer.op.name} ${consumer.op.name}`, inputs.length, body),
    attrs: undefined,
    inputs,
    outputs: [output],
  };
}

/** What a backend computes with; undefined for float64, whose bodies are computed otherwise. */
const typeOf = (dtype: DType): expr.ScalarType | undefined =>
  dtype === "f64" ? undefined : (scalars[dtype] ?? (dtype === "bf16" || dtype === "f16" ? "float" : "int"));

const bodyOf = ({ op, attrs, inputs }: ElementwiseCall): Expr | undefined =>
  op.body(
    inputs.map((_, i) => expr.argument(i)),
    attrs,
  );

const isSame = (a: SlotView, b: SlotView): boolean =>
  a.slot === b.slot && a.offset === b.offset && sameShape(a.shape, b.shape) && sameShape(a.strides, b.strides);

function nodesOf(e: Expr): number {
  switch (e.kind) {
    case "argument":
    case "constant":
      return 1;
    case "unary":
      return 1 + nodesOf(e.a);
    case "binary":
      return 1 + nodesOf(e.a) + nodesOf(e.b);
    case "select":
      return 1 + nodesOf(e.condition) + nodesOf(e.a) + nodesOf(e.b);
  }
}

/** Backends keep kernels by op: one op a body. */
const joinedOps = new Map<string, ElementwiseOp>();

function joinedOp(name: string, arity: number, body: Expr): ElementwiseOp {
  const key = JSON.stringify(body, (_, v: unknown) =>
    typeof v === "number" && !Number.isFinite(v) ? String(v) : Object.is(v, -0) ? "-0" : v,
  );
  let op = joinedOps.get(key);
  if (op === undefined) {
    op = elementwise({
      name,
      arity,
      doc: "elementwise ops of a recording, one after the other",
      meta: (inputs) => [inputs[0]!],
      body: (args) => expr.substitute(body, args),
      gradient: "none",
    });
    joinedOps.set(key, op);
  }
  return op;
}
