import { type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Slot, View } from "../slot.ts";
import type { Context, Operand } from "./context.ts";
import { extremum } from "./reduce.ts";
import { exp, log, offsetsKey, overRows, reader } from "./rows.ts";

type Kernels = Pick<
  FusedKernels<Slot>,
  "softmax" | "softmaxBackward" | "logSoftmax" | "crossEntropy" | "crossEntropyBackward"
>;

const sizesOf = (x: View): { readonly size: number; readonly rows: number } => {
  const size = x.shape[x.shape.length - 1]!;
  return { size, rows: numel(x.shape) / size };
};

/** The largest of every row, and the sum of e^(x - largest). */
function shifted(c: Context, x: View): readonly [Operand, Operand] {
  const input = c.operand(x);
  const { size, rows } = sizesOf(x);
  const read = reader([x]);
  const key = offsetsKey([x]);
  const top = overRows(c, {
    ...{ name: `top ${key}`, rows, size, inputs: [input], fold: extremum("max", "f32") },
    value: (s, { at }) => read(s, 0, at),
  });
  const total = overRows(c, {
    ...{ name: `total ${key}`, rows, size, inputs: [input, top] },
    value: (s, { at, row }) => s.let(exp(s, `${read(s, 0, at)} - ${s.loadFloat(1, row)}`)),
  });
  return [top, total];
}

export function softmaxKernels(c: Context): Kernels {
  const normalised = (name: "softmax" | "logSoftmax"): NonNullable<Kernels["softmax"]> => ({
    inputs: "contiguous",

    run: ([x], [y]) => {
      if (numel(x!.shape) === 0) return;
      const { size } = sizesOf(x!);
      const read = reader([x!]);
      const [top, total] = shifted(c, x!);
      c.with([top, total], () =>
        c.into(y!, {
          key: `${name} ${size} ${offsetsKey([x!])}`,
          inputs: [c.operand(x!), top, total],
          body: (s, at) => {
            const { quotient: row } = s.split(at, size);
            const d = s.let(`${read(s, 0, at)} - ${s.loadFloat(1, row)}`);
            const sum = s.loadFloat(2, row);
            const text = name === "softmax" ? `${exp(s, d)} / ${sum}` : `${d} - ${log(s, sum)}`;
            return { kind: "float", text: s.let(text) };
          },
        }),
      );
    },
  });
  return {
    softmax: normalised("softmax"),
    logSoftmax: normalised("logSoftmax"),
    softmaxBackward: {
      inputs: "contiguous",

      run: ([y, g], [dx]) => {
        if (numel(y!.shape) === 0) return;
        const { size, rows } = sizesOf(y!);
        const views = [y!, g!];
        const inputs = views.map((v) => c.operand(v));
        const read = reader(views);
        const dot = overRows(c, {
          ...{ name: `dot ${offsetsKey(views)}`, rows, size, inputs },
          value: (s, { at }) => s.let(`${read(s, 0, at)} * ${read(s, 1, at)}`),
        });
        c.with([dot], () =>
          c.into(dx!, {
            key: `softmaxBackward ${size} ${offsetsKey(views)}`,
            inputs: [...inputs, dot],
            body: (s, at) => {
              const { quotient: row } = s.split(at, size);
              return { kind: "float", text: s.let(`${read(s, 0, at)} * (${read(s, 1, at)} - ${s.loadFloat(2, row)})`) };
            },
          }),
        );
      },
    },
    crossEntropy: {
      inputs: "contiguous",

      run: ([x, targets], [loss, lse]) => {
        if (numel(loss!.shape) === 0) return;
        const { size, rows } = sizesOf(x!);
        const [top, total] = shifted(c, x!);
        c.with([top, total], () => {
          c.into(lse!, {
            key: "lse",
            inputs: [top, total],
            body: (s, row) => ({
              kind: "float",
              text: s.let(`${log(s, s.loadFloat(1, row))} + ${s.loadFloat(0, row)}`),
            }),
          });
        });
        const read = reader([x!]);
        c.into(loss!, {
          key: `crossEntropy ${rows}x${size} ${x!.offset} ${targets!.offset}`,
          inputs: [c.operand(x!), c.operand(targets!), c.operand(lse!)],
          body: (s, row) => {
            const target = s.loadIndex(1, s.let(`${row} + ${targets!.offset}`));
            const found = s.let("num(0)");
            s.if(`${target} >= 0`, () => {
              const chosen = read(s, 0, s.let(`${row} * ${size} + ${target}`));
              s.line(`${found} = ${s.loadFloat(2, row)} - ${chosen};`);
            });
            // A target beyond the classes has no loss: a number that is none, so that it shows.
            s.if(`${target} > ${size - 1}`, () => s.line(`${found} = Math.sqrt(num(-1));`));
            return { kind: "float", text: found };
          },
        });
      },
    },
    crossEntropyBackward: {
      inputs: "contiguous",

      run: ([x, targets, lse, g], [dx]) => {
        if (numel(x!.shape) === 0) return;
        const { size } = sizesOf(x!);
        const views = [x!, targets!, lse!, g!];
        const read = reader(views);
        c.into(dx!, {
          key: `crossEntropyBackward ${size} ${offsetsKey(views)}`,
          inputs: views.map((v) => c.operand(v)),
          body: (s, at) => {
            const { quotient: row, rest: column } = s.split(at, size);
            const target = s.loadIndex(1, s.let(`${row} + ${targets!.offset}`));
            const p = s.let(exp(s, `${read(s, 0, at)} - ${read(s, 2, row)}`));
            s.if(`${target} === ${column}`, () => s.line(`${p} = ${p} - 1;`));
            const weight = s.let(read(s, 3, row));
            s.if(`${target} < 0`, () => s.line(`${weight} = num(0);`));
            return { kind: "float", text: s.let(`${p} * ${weight}`) };
          },
        });
      },
    },
  };
}
