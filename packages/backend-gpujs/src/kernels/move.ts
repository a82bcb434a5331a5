import { contiguousStrides, numel, type PrimitiveKernels } from "@revnet-zero/tensor";
import type { Slot, View } from "../slot.ts";
import { asValue, type Source, type Value } from "../text/source.ts";
import * as words from "../text/words.ts";
import { type Context, constantNumbers, type Operand } from "./context.ts";

type Kernels = Pick<PrimitiveKernels<Slot>, "pad" | "concat" | "writeSlice" | "sort">;

/** Inputs of one kernel: WebGPU has eight buffers, and one is the output. */
const MOST_PARTS = 6;

const between = (c: string, start: number, size: number): string => `${c} >= ${start} && ${c} < ${start + size}`;

/** The element of a view at coordinates that count from `starts`. */
function at(s: Source, k: number, v: View, coordinates: readonly string[], starts: readonly number[]): Value {
  const offset = v.offset - starts.reduce((sum, start, d) => sum + start * v.strides[d]!, 0);
  return s.load(k, s.position(coordinates, v.strides, offset === 0 ? "0" : `(${offset})`));
}

const layoutKey = (v: View): string => `${v.shape.join("x")} ${v.strides.join()}+${v.offset}`;

const zeroOf = (s: Source, dtype: View["dtype"]): Value => s.letValue(asValue(dtype, "0", "0"));

export function moveKernels(c: Context): Kernels {
  return {
    pad: {
      run: ([x], [y], { pads, value }) => {
        if (numel(x!.shape) === 0) return c.fill(y!, value);
        const starts = pads.map(([before]) => before);
        c.into(y!, {
          key: `pad ${layoutKey(x!)} ${JSON.stringify(pads)}`,
          inputs: [c.operand(x!)],
          numbers: constantNumbers(value, y!.dtype),
          body: (s, position) => {
            const q = s.coordinates(position, y!.shape);
            const found = s.letValue(asValue(y!.dtype, "n0", "n1"));
            const write = (): void => s.assign(found, at(s, 0, x!, q, starts));
            if (q.length === 0) write();
            else s.if(q.map((p, d) => between(p, starts[d]!, x!.shape[d]!)).join(" && "), write);
            return found;
          },
        });
      },
    },
    concat: {
      run: (inputs, [y], { axis }) => {
        if (numel(y!.shape) === 0) return;
        let start = 0;
        const parts = inputs.flatMap((v) => {
          const part = { v, start };
          start += v.shape[axis]!;
          return numel(v.shape) === 0 ? [] : [part];
        });
        // Group by group; what is there already stays.
        let done: Operand | undefined;
        for (let from = 0; from < parts.length; from += MOST_PARTS) {
          const group = parts.slice(from, from + MOST_PARTS);
          const before = done;
          const made = c.make({
            key: `concat ${axis} ${y!.shape.join("x")} ${group.map((p) => `${p.start}: ${layoutKey(p.v)}`).join("; ")} ${before !== undefined}`,
            dtype: y!.dtype,
            elements: numel(y!.shape),
            inputs: [...group.map((p) => c.operand(p.v)), ...(before === undefined ? [] : [before])],
            body: (s, position) => {
              const q = s.coordinates(position, y!.shape);
              const found = s.letValue(before === undefined ? zeroOf(s, y!.dtype) : s.load(group.length, position));
              for (const [k, p] of group.entries()) {
                const starts = q.map((_, d) => (d === axis ? p.start : 0));
                s.if(between(q[axis]!, p.start, p.v.shape[axis]!), () => s.assign(found, at(s, k, p.v, q, starts)));
              }
              return found;
            },
          });
          if (before !== undefined) c.release(before);
          done = made;
        }
        c.store(y!.data, done!);
      },
    },
    writeSlice: {
      run: ([x, part], [y], { starts }) => {
        if (numel(y!.shape) === 0) return;
        const hasPart = numel(part!.shape) > 0;
        // Where the part goes is a number, so that a part that moves (a row of counts, a cache) is one kernel.
        c.into(y!, {
          key: `writeSlice ${layoutKey(x!)} ${hasPart ? layoutKey(part!) : ""}`,
          inputs: [c.operand(x!), ...(hasPart ? [c.operand(part!)] : [])],
          numbers: starts,
          body: (s, position) => {
            const q = s.coordinates(position, y!.shape);
            const zeros = q.map(() => 0);
            const found = s.letValue(at(s, 0, x!, q, zeros));
            if (!hasPart) return found;
            const local = q.map((p, d) => s.let(`${p} - n${d}`));
            const isInside = local.map((p, d) => between(p, 0, part!.shape[d]!)).join(" && ");
            const write = (): void => s.assign(found, at(s, 1, part!, local, zeros));
            if (local.length === 0) write();
            else s.if(isInside, write);
            return found;
          },
        });
      },
    },
    sort: {
      inputs: "contiguous",
      run: ([x], [values, positions], { axis, descending }) => sort(c, x!, values!, positions!, axis, descending),
    },
  };
}

/** Whether the element `a` at place j goes before `b` at place k: NaN last, equal ones in their first order. */
function precedes(s: Source, a: Value, j: string, b: Value, k: string, descending: boolean): string {
  if (a.kind === "int" && b.kind === "int") {
    const less = descending ? words.isLess(b, a) : words.isLess(a, b);
    return `(${less}) || (${words.equals(a, b)} && ${j} < ${k})`;
  }
  if (a.kind === "int" || b.kind === "int") throw new Error("sort: operands of two kinds");
  const [p, q] = [s.let(`notNumber(${a.text})`), s.let(`notNumber(${b.text})`)];
  const less = `${a.text} ${descending ? ">" : "<"} ${b.text}`;
  return `${p} < ${q} || (${p} === 0 && ${q} === 0 && (${less} || (${a.text} === ${b.text} && ${j} < ${k}))) || (${p} > 0.5 && ${q} > 0.5 && ${j} < ${k})`;
}

/** Ranks by counting what goes before; then every place looks for the element of its rank. n² comparisons, and no exchange. */
function sort(c: Context, x: View, values: View, positions: View, axis: number, descending: boolean): void {
  const elements = numel(x.shape);
  if (elements === 0) return;
  const strides = contiguousStrides(x.shape);
  const [size, inner] = [x.shape[axis]!, strides[axis]!];
  const outer = elements / (size * inner);
  const offset = x.offset === 0 ? "0" : String(x.offset);
  const key = `${outer}x${size}x${inner} ${descending}+${x.offset}`;
  const source = c.operand(x);
  const ranks = c.make({
    key: `rank ${key}`,
    dtype: "f32",
    elements,
    inputs: [source],
    body: (s, position) => {
      const [o, k, i] = s.coordinates(position, [outer, size, inner]) as [string, string, string];
      const own = s.load(0, s.position([position], [1], offset));
      const start = s.position([o, i], [size * inner, 1], offset);
      const rank = s.let("num(0)");
      s.loop(size, (j) => {
        const other = s.load(0, s.position([j], [inner], start));
        s.if(precedes(s, other, j, own, k, descending), () => s.line(`${rank} = ${rank} + 1;`));
      });
      return { kind: "float", text: rank };
    },
  });
  const place = (s: Source, position: string): { readonly start: string; readonly from: string } => {
    const [o, r, i] = s.coordinates(position, [outer, size, inner]) as [string, string, string];
    const start = s.position([o, i], [size * inner, 1]);
    const from = s.let("num(0)");
    s.loop(size, (j) => {
      const rank = s.loadFloat(0, s.position([j], [inner], start));
      s.if(`${rank} === ${r}`, () => s.line(`${from} = ${j};`));
    });
    return { start, from };
  };
  c.with([ranks], () => {
    const sorted = c.make({
      key: `sorted ${key}`,
      dtype: x.dtype,
      elements,
      inputs: [ranks, source],
      body: (s, position) => {
        const { start, from } = place(s, position);
        return s.load(1, s.position([start, from], [1, inner], offset));
      },
    });
    c.into(positions, {
      key: `positions ${key}`,
      inputs: [ranks],
      body: (s, position) => words.fromWhole(s, place(s, position).from),
    });
    c.store(values.data, sorted);
  });
}
