import { collapse, type DType, numel, type PrimitiveKernels } from "@revnet-zero/tensor";
import type { Slot, View } from "../slot.ts";
import { asValue, type Source, textOf, type Value } from "../text/source.ts";
import * as words from "../text/words.ts";
import type { Context, Operand } from "./context.ts";

/** How many elements one thread folds, and how many values are left for a last stage. */
const CHUNK = 64;

/** How values become one: in ascending order of their positions, in chunks that follow from their number alone. */
export interface Fold {
  readonly name: string;
  readonly start: (s: Source) => Value;
  readonly combine: (s: Source, total: Value, v: Value) => Value;
  /** An extremum has no neutral value: it starts with the first one. */
  readonly takesFirst?: boolean;
}

const constant =
  (dtype: DType, v: 0 | 1): Fold["start"] =>
  (s) =>
    s.letValue(dtype === "i32" ? words.word(v) : asValue(dtype, String(v), ""));

export const sumFold = (dtype: DType): Fold => ({
  name: `sum ${dtype}`,
  start: constant(dtype, 0),
  combine: (s, a, b) =>
    a.kind === "int" && b.kind === "int"
      ? words.sum(s, a, b, "+")
      : { kind: "float", text: s.let(`${textOf(a)} + ${textOf(b)}`) },
});

export const productFold = (dtype: DType): Fold => ({
  name: `prod ${dtype}`,
  start: constant(dtype, 1),
  combine: (s, a, b) =>
    a.kind === "int" && b.kind === "int"
      ? words.product(s, a, b)
      : { kind: "float", text: s.let(`${textOf(a)} * ${textOf(b)}`) },
});

/** Rows of values: `outer` results of `size` values each. `at` gives the position in the buffer. */
export interface Rows {
  readonly key: string;
  readonly numbers: readonly number[];
  readonly outer: number;
  readonly size: number;
  readonly inputs: readonly Operand[];
  /** The values of a row, by their number in it. */
  readonly row: (s: Source, outer: string) => (k: string) => Value;
}

/** Folds rows in stages: chunks of at most 64 values, then their results. */
export function foldRows(c: Context, rows: Rows, fold: Fold, dtype: DType): Operand {
  const { outer, size } = rows;
  const chunks = size <= CHUNK ? 1 : Math.ceil(size / CHUNK);
  const partial = c.make({
    key: `${fold.name} ${outer}x${size} ${rows.key}`,
    dtype,
    elements: outer * chunks,
    inputs: rows.inputs,
    numbers: rows.numbers,
    body: (s, position) => {
      const { quotient: o, rest: chunk } = s.split(position, chunks);
      const base = chunks === 1 ? undefined : s.let(`${chunk} * ${CHUNK}`);
      const value = rows.row(s, o);
      const total = fold.start(s);
      const step = (k: string): void => s.assign(total, fold.combine(s, total, value(k)));
      if (fold.takesFirst === true) s.assign(total, value(base ?? s.let("num(0)")));
      s.loop(chunks === 1 ? size : CHUNK, (j) => {
        const k = base === undefined ? j : s.let(`${base} + ${j}`);
        if (chunks === 1 || size % CHUNK === 0) step(k);
        else s.if(`${k} < ${size}`, () => step(k));
      });
      return total;
    },
  });
  if (chunks === 1) return partial;
  return c.with([partial], () => foldRows(c, storedRows(partial, outer, chunks), fold, dtype));
}

/** The axes of a view as rows: what is kept outside, what is reduced inside, both row-major. */
export function rowsOf(c: Context, x: View, axes: readonly number[], map?: (s: Source, v: Value) => Value): Rows {
  const pick = (isIn: boolean) => x.shape.flatMap((_, d) => (axes.includes(d) === isIn ? [d] : []));
  const nest = (list: readonly number[]) =>
    collapse(
      list.map((d) => x.shape[d]!),
      [list.map((d) => x.strides[d]!)],
    );
  const [kept, reduced] = [nest(pick(false)), nest(pick(true))];
  const [sizes, inner] = [kept, reduced].map((loops) => loops.map((l) => l.size)) as [number[], number[]];
  const [steps, innerSteps] = [kept, reduced].map((loops) => loops.map((l) => l.strides[0]!)) as [number[], number[]];
  return {
    key: `${sizes.join("x")} ${steps.join()} ${inner.join("x")} ${innerSteps.join()} ${x.offset === 0 ? "" : "+"}`,
    numbers: x.offset === 0 ? [] : [x.offset],
    outer: sizes.reduce((a, b) => a * b, 1),
    size: inner.reduce((a, b) => a * b, 1),
    inputs: [c.operand(x)],
    row: (s, o) => {
      const start = s.position(s.coordinates(o, sizes), steps, x.offset === 0 ? "0" : "n0");
      return (k) => {
        const v = s.load(0, s.position(s.coordinates(k, inner), innerSteps, start));
        return map === undefined ? v : map(s, v);
      };
    },
  };
}

/** Truth values are summed as the integers they are. */
export const asWord = (s: Source, v: Value): Value => (v.kind === "bool" ? words.fromWhole(s, v.text) : v);

export const extremum = (which: "max" | "min", dtype: DType): Fold => ({
  name: `${which} ${dtype}`,
  takesFirst: true,
  start: constant(dtype, 0),
  combine: (s, a, b) => {
    if (a.kind === "int" && b.kind === "int") {
      return words.choose(s, which === "max" ? words.isLess(a, b) : words.isLess(b, a), b, a);
    }
    const name = s.hasGoodFunctions ? `Math.${which}` : which === "max" ? "greater" : "lesser";
    return asValue(dtype, s.let(`${name}(${textOf(a)}, ${textOf(b)})`), "");
  },
});

/** Along an axis: the position of the first extremum; NaN beats every number. */
function position(c: Context, x: View, y: View, axis: number, which: "max" | "min"): void {
  const rows = rowsOf(c, x, [axis]);
  c.into(y, {
    key: `arg${which} ${rows.outer}x${rows.size} ${rows.key}`,
    inputs: rows.inputs,
    numbers: rows.numbers,
    body: (s, o) => {
      const value = rows.row(s, o);
      const at = s.let("num(0)");
      const best = s.letValue(value(s.let("num(0)")));
      s.loop(rows.size, (k) => {
        const v = value(k);
        const beats =
          v.kind === "int" && best.kind === "int"
            ? which === "max"
              ? words.isLess(best, v)
              : words.isLess(v, best)
            : `${textOf(v)} ${which === "max" ? ">" : "<"} ${textOf(best)} || (notNumber(${textOf(v)}) > 0.5 && notNumber(${textOf(best)}) < 0.5)`;
        s.if(beats, () => {
          s.assign(best, v);
          s.line(`${at} = ${k};`);
        });
      });
      return words.fromWhole(s, at);
    },
  });
}

const empty = (y: View): boolean => numel(y.shape) === 0;

type Kernels = Pick<PrimitiveKernels<Slot>, "sum" | "max" | "min" | "argmax" | "argmin" | "cumsum">;

export function reduceKernels(c: Context): Kernels {
  const extreme = (which: "max" | "min"): Kernels["max"] => ({
    run: ([x], [y], { axes }) => {
      if (empty(y!)) return;
      c.store(y!.data, foldRows(c, rowsOf(c, x!, axes), extremum(which, x!.dtype), x!.dtype));
    },
  });
  return {
    sum: {
      run: ([x], [y], { axes }) => {
        if (empty(x!)) c.fill(y!, 0);
        else c.store(y!.data, foldRows(c, rowsOf(c, x!, axes, asWord), sumFold(y!.dtype), y!.dtype));
      },
    },
    max: extreme("max"),
    min: extreme("min"),
    argmax: { run: ([x], [y], { axis }) => position(c, x!, y!, axis, "max") },
    argmin: { run: ([x], [y], { axis }) => position(c, x!, y!, axis, "min") },
    cumsum: {
      run: ([x], [y], { axis }) => {
        if (empty(y!)) return;
        const rows = rowsOf(c, x!, [axis], asWord);
        const running = runningSums(c, rows, y!.dtype);
        // [rows, axis] back to where the axis was.
        const outer = y!.shape.slice(0, axis).reduce((a, b) => a * b, 1);
        const inner = y!.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
        c.with([running], () =>
          c.into(y!, {
            key: `unroll ${outer}x${rows.size}x${inner}`,
            inputs: [running],
            body: (s, p) => {
              const [o, k, i] = s.coordinates(p, [outer, rows.size, inner]) as [string, string, string];
              return s.load(0, s.position([o, i, k], [inner * rows.size, rows.size, 1]));
            },
          }),
        );
      },
    },
  };
}

/** Prefix sums of rows, [outer, size]: within chunks, after the sum of the chunks before. */
function runningSums(c: Context, rows: Rows, dtype: DType): Operand {
  const { outer, size } = rows;
  const fold = sumFold(dtype);
  const chunks = Math.ceil(size / CHUNK);
  const within = (before: Operand | undefined): Operand =>
    c.make({
      key: `running ${fold.name} ${outer}x${size} ${rows.key}`,
      dtype,
      elements: outer * size,
      inputs: before === undefined ? rows.inputs : [...rows.inputs, before],
      numbers: rows.numbers,
      body: (s, p) => {
        const { quotient: o, rest: k } = s.split(p, size);
        const { quotient: chunk, rest: last } = s.split(k, CHUNK);
        const value = rows.row(s, o);
        const total = fold.start(s);
        if (before !== undefined) {
          s.if(`${chunk} > 0`, () =>
            s.assign(total, s.load(rows.inputs.length, s.let(`${o} * ${chunks} + ${chunk} - 1`))),
          );
        }
        s.loop(Math.min(CHUNK, size), (j) =>
          s.if(`${j} <= ${last}`, () =>
            s.assign(total, fold.combine(s, total, value(s.let(`${chunk} * ${CHUNK} + ${j}`)))),
          ),
        );
        return total;
      },
    });
  if (chunks === 1) return within(undefined);
  const sums = c.make({
    key: `chunks ${fold.name} ${outer}x${size} ${rows.key}`,
    dtype,
    elements: outer * chunks,
    inputs: rows.inputs,
    numbers: rows.numbers,
    body: (s, p) => {
      const { quotient: o, rest: chunk } = s.split(p, chunks);
      const value = rows.row(s, o);
      const total = fold.start(s);
      s.loop(CHUNK, (j) => {
        const k = s.let(`${chunk} * ${CHUNK} + ${j}`);
        s.if(`${k} < ${size}`, () => s.assign(total, fold.combine(s, total, value(k))));
      });
      return total;
    },
  });
  return c.with([sums], () => {
    const before = runningSums(c, storedRows(sums, outer, chunks), dtype);
    return c.with([before], () => within(before));
  });
}

/** A buffer [outer, size] as rows. */
export const storedRows = (x: Operand, outer: number, size: number): Rows => ({
  key: "stored",
  numbers: [],
  outer,
  size,
  inputs: [x],
  row: (s, o) => {
    const start = s.let(`${o} * ${size}`);
    return (k) => s.load(0, s.let(`${start} + ${k}`));
  },
});
