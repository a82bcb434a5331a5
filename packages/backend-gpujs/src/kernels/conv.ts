import { numel, type PrimitiveKernels, type Shape } from "@revnet-zero/tensor";
import type { Slot, View } from "../slot.ts";
import type { Source } from "../text/source.ts";
import type { Context } from "./context.ts";

type Kernels = Pick<PrimitiveKernels<Slot>, "conv2d" | "conv2dInputGradient" | "conv2dWeightGradient">;
type Attrs = Parameters<Kernels["conv2d"]["run"]>[2];
type Four = readonly [number, number, number, number];
type Texts = readonly [string, string, string, string];

const four = (shape: Shape): Four => shape as unknown as Four;

/** Steps of a row-major shape. */
const steps = ([, c, h, w]: Four): number[] => [c * h * w, h * w, w, 1];

/**
 * Adds the product of two elements where the condition holds. Outside it the one that is padded is 0, and is multiplied like any other number: a
 * weight that is infinite makes NaN of it.
 */
type Term = (isInside: string, a: Texts, b: Texts, padded?: 0 | 1) => void;

const within = (v: string, size: number): string => `${v} >= 0 && ${v} < ${size}`;

/** One thread an output element; sums over channels, rows and columns in that order. */
export function convKernels(c: Context): Kernels {
  const run = (
    name: string,
    [a, b]: readonly [View, View],
    y: View,
    attrs: Attrs,
    body: (s: Source, at: Texts, add: Term) => void,
  ): void => {
    if (numel(y.shape) === 0) return;
    if (numel(a.shape) === 0 || numel(b.shape) === 0) {
      c.fill(y, 0);
      return;
    }
    const { stride, padding, dilation, groups } = attrs;
    c.into(y, {
      key: `${name} ${a.shape.join("x")} ${b.shape.join("x")} ${y.shape.join("x")} ${[stride, padding, dilation, groups].join()} ${a.offset} ${b.offset}`,
      inputs: [c.operand(a), c.operand(b)],
      body: (s, position) => {
        const total = s.let("num(0)");
        const at = (v: View, where: Texts): string => s.position(where, steps(four(v.shape)), String(v.offset));
        const read = (k: 0 | 1, where: Texts): string => s.loadFloat(k, at(k === 0 ? a : b, where));
        const add: Term = (isInside, p, q, padded) => {
          if (padded === undefined) {
            s.if(isInside, () => s.line(`${total} = ${total} + ${read(0, p)} * ${read(1, q)};`));
            return;
          }
          const found = s.let("num(0)");
          s.if(isInside, () => s.line(`${found} = ${read(padded, padded === 0 ? p : q)};`));
          s.line(`${total} = ${total} + ${found} * ${padded === 0 ? read(1, q) : read(0, p)};`);
        };
        body(s, s.coordinates(position, y.shape) as unknown as Texts, add);
        return { kind: "float", text: total };
      },
    });
  };
  return {
    conv2d: {
      inputs: "contiguous",
      run: ([x, w], [y], attrs) => {
        const { stride, padding, dilation, groups } = attrs;
        const [X, W] = [four(x!.shape), four(w!.shape)];
        run("conv2d", [x!, w!], y!, attrs, (s, [n, o, r, q], add) => {
          const { quotient: group } = s.split(o, W[0] / groups);
          s.loop(W[1], (g) => {
            const channel = s.let(`${group} * ${W[1]} + ${g}`);
            s.loop(W[2], (i) =>
              s.loop(W[3], (j) => {
                const row = s.let(`${r} * ${stride[0]} - ${padding[0]} + ${i} * ${dilation[0]}`);
                const column = s.let(`${q} * ${stride[1]} - ${padding[1]} + ${j} * ${dilation[1]}`);
                const isInside = `${within(row, X[2])} && ${within(column, X[3])}`;
                add(isInside, [n, channel, row, column], [o, g, i, j], 0);
              }),
            );
          });
        });
      },
    },
    conv2dInputGradient: {
      inputs: "contiguous",
      run: ([y, w], [x], attrs) => {
        const { stride, padding, dilation, groups } = attrs;
        const [Y, W] = [four(y!.shape), four(w!.shape)];
        const perGroup = W[0] / groups;
        run("conv2dInputGradient", [y!, w!], x!, attrs, (s, [n, channel, row, column], add) => {
          const { quotient: group, rest: g } = s.split(channel, W[1]);
          s.loop(perGroup, (m) => {
            const o = s.let(`${group} * ${perGroup} + ${m}`);
            s.loop(W[2], (i) =>
              s.loop(W[3], (j) => {
                // The output places that read this pixel by tap (i, j): those where the stride divides.
                const r = s.split(s.let(`${row} + ${padding[0]} - ${i} * ${dilation[0]}`), stride[0]);
                const q = s.split(s.let(`${column} + ${padding[1]} - ${j} * ${dilation[1]}`), stride[1]);
                const isWhole = `${r.rest} === 0 && ${q.rest} === 0`;
                const isInside = `${within(r.quotient, Y[2])} && ${within(q.quotient, Y[3])} && ${isWhole}`;
                add(isInside, [n, o, r.quotient, q.quotient], [o, g, i, j]);
              }),
            );
          });
        });
      },
    },
    conv2dWeightGradient: {
      inputs: "contiguous",
      run: ([y, x], [w], attrs) => {
        const { stride, padding, dilation, groups } = attrs;
        const [Y, X, W] = [four(y!.shape), four(x!.shape), four(w!.shape)];
        run("conv2dWeightGradient", [y!, x!], w!, attrs, (s, [o, g, i, j], add) => {
          const { quotient: group } = s.split(o, W[0] / groups);
          const channel = s.let(`${group} * ${W[1]} + ${g}`);
          s.loop(Y[0], (n) =>
            s.loop(Y[2], (r) =>
              s.loop(Y[3], (q) => {
                const row = s.let(`${r} * ${stride[0]} - ${padding[0]} + ${i} * ${dilation[0]}`);
                const column = s.let(`${q} * ${stride[1]} - ${padding[1]} + ${j} * ${dilation[1]}`);
                const isInside = `${within(row, X[2])} && ${within(column, X[3])}`;
                add(isInside, [n, o, r, q], [n, channel, row, column], 1);
              }),
            ),
          );
        });
      },
    },
  };
}
