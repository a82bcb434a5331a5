import { numel, type PrimitiveKernels, type Shape } from "@revnet-zero/tensor";
import type { Slot, View } from "../slot.ts";
import type { Source, Value } from "../text/source.ts";
import * as words from "../text/words.ts";
import type { Context } from "./context.ts";
import { sumFold } from "./reduce.ts";

type Kernels = Pick<PrimitiveKernels<Slot>, "take" | "scatterAdd" | "takeAlong" | "scatterAddAlong">;

/** Elements before, along and after an axis. */
export function around(
  shape: Shape,
  axis: number,
): { readonly outer: number; readonly size: number; readonly inner: number } {
  const product = (list: readonly number[]): number => list.reduce((a, b) => a * b, 1);
  return { outer: product(shape.slice(0, axis)), size: shape[axis]!, inner: product(shape.slice(axis + 1)) };
}

const offset = (v: View): string => (v.offset === 0 ? "0" : String(v.offset));

/** What stands where an index names no place: a number that is none, so that it shows. */
function nothing(s: Source, like: Value): Value {
  if (like.kind === "int") return words.word(0);
  return { kind: like.kind, text: like.kind === "bool" ? s.let("num(0)") : s.let("Math.sqrt(num(-1))") };
}

/** Element `at` of the first input where `place` is one of `size` places. */
function checked(s: Source, place: string, size: number, at: string): Value {
  const found = s.letValue(s.load(0, at));
  s.if(`${place} < 0 || ${place} > ${size - 1}`, () => s.assign(found, nothing(s, found)));
  return found;
}

/** Sums gather: every element of the output looks for the updates that belong to it, in ascending order, so that no two threads write to one. */
export function gatherKernels(c: Context): Kernels {
  const key = (name: string, views: readonly View[], rest: object): string =>
    `${name} ${views.map((v) => `${v.shape.join("x")}+${v.offset}`).join(" ")} ${JSON.stringify(rest)}`;
  return {
    take: {
      inputs: "contiguous",
      run: ([x, indices], [y], { axis }) => {
        if (numel(y!.shape) === 0) return;
        const { outer, size, inner } = around(x!.shape, axis);
        const count = numel(indices!.shape);
        c.into(y!, {
          key: key("take", [x!, indices!], { axis }),
          inputs: [c.operand(x!), c.operand(indices!)],
          body: (s, position) => {
            const [o, p, i] = s.coordinates(position, [outer, count, inner]) as [string, string, string];
            const place = s.loadIndex(1, s.position([p], [1], offset(indices!)));
            const at = s.position([o, place, i], [size * inner, inner, 1], offset(x!));
            return checked(s, place, size, at);
          },
        });
      },
    },
    takeAlong: {
      inputs: "contiguous",
      run: ([x, indices], [y], { axis }) => {
        if (numel(y!.shape) === 0) return;
        const { outer, size, inner } = around(x!.shape, axis);
        c.into(y!, {
          key: key("takeAlong", [x!, indices!], { axis }),
          inputs: [c.operand(x!), c.operand(indices!)],
          body: (s, position) => {
            const [o, , i] = s.coordinates(position, [outer, indices!.shape[axis]!, inner]) as [string, string, string];
            const place = s.loadIndex(1, s.position([position], [1], offset(indices!)));
            return checked(s, place, size, s.position([o, place, i], [size * inner, inner, 1], offset(x!)));
          },
        });
      },
    },
    scatterAdd: {
      inputs: "contiguous",
      run: ([indices, updates], [y], { axis }) => {
        if (numel(y!.shape) === 0) return;
        const count = numel(indices!.shape);
        if (count === 0) return c.fill(y!, 0);
        const { outer, size, inner } = around(y!.shape, axis);
        const fold = sumFold(y!.dtype);
        c.into(y!, {
          key: key("scatterAdd", [indices!, updates!], { axis, size }),
          inputs: [c.operand(updates!), c.operand(indices!)],
          body: (s, position) => {
            const [o, place, i] = s.coordinates(position, [outer, size, inner]) as [string, string, string];
            const start = s.position([o, i], [count * inner, 1], offset(updates!));
            const total = fold.start(s);
            s.loop(count, (p) => {
              const named = s.loadIndex(1, s.position([p], [1], offset(indices!)));
              s.if(`${named} === ${place}`, () =>
                s.assign(total, fold.combine(s, total, s.load(0, s.position([p], [inner], start)))),
              );
            });
            return total;
          },
        });
      },
    },
    scatterAddAlong: {
      inputs: "contiguous",
      run: ([indices, updates], [y], { axis }) => {
        if (numel(y!.shape) === 0) return;
        const count = indices!.shape[axis]!;
        if (count === 0) return c.fill(y!, 0);
        const { outer, size, inner } = around(y!.shape, axis);
        const fold = sumFold(y!.dtype);
        c.into(y!, {
          key: key("scatterAddAlong", [indices!, updates!], { axis, size }),
          inputs: [c.operand(updates!), c.operand(indices!)],
          body: (s, position) => {
            const [o, place, i] = s.coordinates(position, [outer, size, inner]) as [string, string, string];
            const start = s.position([o, i], [count * inner, 1]);
            const total = fold.start(s);
            s.loop(count, (k) => {
              const at = s.position([k], [inner], start);
              const named = s.loadIndex(1, s.position([at], [1], offset(indices!)));
              s.if(`${named} === ${place}`, () =>
                s.assign(total, fold.combine(s, total, s.load(0, s.position([at], [1], offset(updates!))))),
              );
            });
            return total;
          },
        });
      },
    },
  };
}
