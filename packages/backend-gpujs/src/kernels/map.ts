import { collapse, type DType, type ElementwiseOp, expr, isContiguous, numel } from "@revnet-zero/tensor";
import type { View } from "../slot.ts";
import { printBody } from "../text/body.ts";
import { asValue, type Source, type Value } from "../text/source.ts";
import type { Context, Operand } from "./context.ts";

type Body = (s: Source, values: readonly Value[]) => Value;

/** How the positions of several operands follow from the position in a row-major shape. */
export interface Walk {
  /** Names the text of `positions`. */
  readonly key: string;
  /** Numbers of the kernel: the operands' offsets that are not 0. */
  readonly numbers: readonly number[];
  positions(s: Source, position: string): string[];
}

/** A walk over views of one shape; offsets are numbers of the kernel from `firstNumber` on, so that a moving slice is one kernel. */
export function walk(views: readonly View[], firstNumber = 0): Walk {
  const { shape } = views[0]!;
  const numbers: number[] = [];
  const offsets = views.map(({ offset }) => {
    if (offset === 0) return "0";
    numbers.push(offset);
    return `n${firstNumber + numbers.length - 1}`;
  });
  if (views.every((v) => v.shape.length === shape.length && isContiguous(v))) {
    return {
      key: `row ${offsets.join()}`,
      numbers,
      positions: (s, position) => offsets.map((o) => (o === "0" ? position : s.let(`${position} + ${o}`))),
    };
  }
  const loops = collapse(
    shape,
    views.map((v) => v.strides),
  );
  const sizes = loops.map((l) => l.size);
  const strides = views.map((_, k) => loops.map((l) => l.strides[k]!));
  return {
    key: `${sizes.join("x")} ${strides.map((list, k) => `${list.join(",")}+${offsets[k]}`).join(" ")}`,
    numbers,
    positions: (s, position) => {
      const at = s.coordinates(position, sizes);
      return views.map((_, k) => s.position(at, strides[k]!, offsets[k]!));
    },
  };
}

/** Buffers that a kernel reads at most: WebGPU has eight, and one is the output. */
const MOST_INPUTS = 7;

/** One element of a new buffer from one of every view; the views have one shape. */
export function map(
  c: Context,
  name: string,
  inputs: readonly View[],
  dtype: DType,
  body: Body,
  numbers: readonly number[] = [],
): Operand {
  if (inputs.length > MOST_INPUTS) return mapPacked(c, name, inputs, dtype, body, numbers);
  const operands = inputs.map((v) => c.operand(v));
  const { key, numbers: offsets, positions } = walk(inputs, numbers.length);
  return c.make({
    key: `${name} ${key}`,
    dtype,
    elements: numel(inputs[0]!.shape),
    inputs: operands,
    numbers: [...numbers, ...offsets],
    body: (s, position) =>
      body(
        s,
        positions(s, position).map((at, k) => s.load(k, at)),
      ),
  });
}

/** The same with the operands that are too many put one after another into one buffer, number by number. */
function mapPacked(
  c: Context,
  name: string,
  inputs: readonly View[],
  dtype: DType,
  body: Body,
  numbers: readonly number[],
): Operand {
  const elements = numel(inputs[0]!.shape);
  const [plain, many] = [inputs.slice(0, MOST_INPUTS - 1), inputs.slice(MOST_INPUTS - 1)];
  // Planes of the packed buffer: a word takes two.
  const starts: number[] = [];
  let planes = 0;
  for (const v of many) {
    starts.push(planes);
    planes += v.dtype === "i32" ? 2 : 1;
  }
  let packed: Operand | undefined;
  many.forEach((v, k) => {
    const parts = [...(packed === undefined ? [] : [packed]), c.operand(v)];
    const { key, numbers: offsets, positions } = walk([v]);
    const before = packed;
    const count = starts[k + 1] ?? planes;
    packed = c.make({
      key: `pack ${key} ${starts[k]} of ${count}`,
      dtype: "f32",
      elements: elements * count,
      inputs: parts,
      numbers: offsets,
      body: (s, position) => {
        const { quotient: plane, rest } = s.split(position, elements);
        const [at] = positions(s, rest);
        const own = s.load(parts.length - 1, at!);
        const found = s.let(own.kind === "int" ? own.high : own.text);
        if (own.kind === "int") s.if(`${plane} > ${starts[k]! + 0.5}`, () => s.line(`${found} = ${own.low};`));
        if (before !== undefined)
          s.if(`${plane} < ${starts[k]! - 0.5}`, () => s.line(`${found} = ${s.loadFloat(0, position)};`));
        return { kind: "float", text: found };
      },
    });
    if (before !== undefined) c.release(before);
  });
  const { key, numbers: offsets, positions } = walk(plain, numbers.length);
  return c.with([packed!], () =>
    c.make({
      key: `${name} ${key} packed ${many.map((v) => v.dtype).join()}`,
      dtype,
      elements,
      inputs: [...plain.map((v) => c.operand(v)), packed!],
      numbers: [...numbers, ...offsets],
      body: (s, position) => {
        const own = positions(s, position).map((at, k) => s.load(k, at));
        const rest = many.map((v, k) => {
          const plane = (n: number): string => s.loadFloat(plain.length, s.let(`${position} + ${n * elements}`));
          return asValue(v.dtype, plane(starts[k]!), v.dtype === "i32" ? plane(starts[k]! + 1) : "");
        });
        return body(s, [...own, ...rest]);
      },
    }),
  );
}

// biome-ignore lint/suspicious/noExplicitAny: see AnyOp.
const numbersOfOps = new WeakMap<ElementwiseOp<any>, number>();
let ops = 0;

/** Ops of a user may share a name. */
// biome-ignore lint/suspicious/noExplicitAny: see AnyOp.
function idOf(op: ElementwiseOp<any>): number {
  let id = numbersOfOps.get(op);
  if (id === undefined) {
    id = ops++;
    numbersOfOps.set(op, id);
  }
  return id;
}

/** Runs the scalar body of an op of the table. */
export function elementwise(
  c: Context,
  // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
  op: ElementwiseOp<any>,
  attrs: unknown,
  inputs: readonly View[],
  output: View,
): void {
  if (numel(output.shape) === 0) return;
  const name = `${op.name} ${idOf(op)} ${attrs === undefined ? "" : JSON.stringify(attrs)}`;
  const body: Body = (s, values) =>
    printBody(
      s,
      op.body(
        values.map((_, i) => expr.argument(i)),
        attrs,
      ),
      values,
    );
  c.store(output.data, map(c, name, inputs, output.dtype, body));
}
