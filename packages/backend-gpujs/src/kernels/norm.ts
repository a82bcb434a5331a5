import { type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Slot, View } from "../slot.ts";
import type { Context, Operand } from "./context.ts";
import { offsetsKey, overColumns, overRows, reader } from "./rows.ts";

type Kernels = Pick<FusedKernels<Slot>, "layerNorm" | "layerNormBackward" | "rmsNorm" | "rmsNormBackward">;

const sizesOf = (x: View): { readonly size: number; readonly rows: number } => {
  const size = x.shape[x.shape.length - 1]!;
  return { size, rows: size === 0 ? 0 : numel(x.shape) / size };
};

/** A row's value as an output. */
function storeRows(c: Context, output: View, rows: Operand): void {
  if (numel(output.shape) > 0) c.store(output.data, rows);
  else c.release(rows);
}

/** 1 / sqrt(Σ terms / size + eps) of every row. */
function inverseDeviation(c: Context, name: string, x: View, eps: number, mean: Operand | undefined): Operand {
  const { size, rows } = sizesOf(x);
  const read = reader([x]);
  const squares = overRows(c, {
    ...{ name: `${name} ${x.offset}`, rows, size, inputs: [c.operand(x), ...(mean === undefined ? [] : [mean])] },
    value: (s, { at, row }) => {
      const v = read(s, 0, at);
      const d = mean === undefined ? v : s.let(`${v} - ${s.loadFloat(1, row)}`);
      return s.let(`${d} * ${d}`);
    },
  });
  return c.with([squares], () =>
    c.make({
      key: `deviation ${size} ${eps}`,
      dtype: "f32",
      elements: rows,
      inputs: [squares],
      body: (s, row) => ({ kind: "float", text: s.let(`1 / Math.sqrt(${s.loadFloat(0, row)} / ${size} + ${eps})`) }),
    }),
  );
}

function meanOf(c: Context, x: View): Operand {
  const { size, rows } = sizesOf(x);
  const read = reader([x]);
  const total = overRows(c, {
    ...{ name: `mean ${x.offset}`, rows, size, inputs: [c.operand(x)] },
    value: (s, { at }) => read(s, 0, at),
  });
  return c.with([total], () =>
    c.make({
      key: `divided ${size}`,
      dtype: "f32",
      elements: rows,
      inputs: [total],
      body: (s, row) => ({ kind: "float", text: s.let(`${s.loadFloat(0, row)} / ${size}`) }),
    }),
  );
}

/** Gradients of a norm from x, weight, 1/σ, g and, of a layer norm, the mean. */
function backward(
  c: Context,
  views: { readonly x: View; readonly w: View; readonly inverse: View; readonly g: View; readonly mean?: View },
  [dx, dw, db]: readonly View[],
): void {
  const { x, w, inverse, g, mean } = views;
  const { size, rows } = sizesOf(x);
  if (rows === 0) {
    if (numel(dw!.shape) > 0) c.fill(dw!, 0);
    if (db !== undefined && numel(db.shape) > 0) c.fill(db, 0);
    return;
  }
  const list = [x, w, inverse, g, ...(mean === undefined ? [] : [mean])];
  const inputs = list.map((v) => c.operand(v));
  const read = reader(list);
  const name = `${mean === undefined ? "rms" : "layer"} ${offsetsKey(list)}`;
  type Read = typeof read;
  type S = Parameters<Read>[0];
  const normalised = (s: S, at: string, row: string): string => {
    const v = read(s, 0, at);
    return s.let(`${mean === undefined ? v : `(${v} - ${read(s, 4, row)})`} * ${read(s, 2, row)}`);
  };
  const weighted = (s: S, at: string, column: string): string => s.let(`${read(s, 3, at)} * ${read(s, 1, column)}`);
  const along = overRows(c, {
    ...{ name: `along ${name}`, rows, size, inputs },
    value: (s, { at, row, column }) => s.let(`${weighted(s, at, column)} * ${normalised(s, at, row)}`),
  });
  const total =
    mean === undefined
      ? undefined
      : overRows(c, {
          ...{ name: `weighted ${name}`, rows, size, inputs },
          value: (s, { at, column }) => weighted(s, at, column),
        });
  const sums = [along, ...(total === undefined ? [] : [total])];
  c.with(sums, () =>
    c.into(dx!, {
      key: `pull ${size} ${name}`,
      inputs: [...inputs, ...sums],
      body: (s, at) => {
        const { quotient: row, rest: column } = s.split(at, size);
        const shift = total === undefined ? "" : ` - ${s.loadFloat(list.length + 1, row)} / ${size}`;
        const part = `${normalised(s, at, row)} * (${s.loadFloat(list.length, row)} / ${size})`;
        return { kind: "float", text: s.let(`(${weighted(s, at, column)}${shift} - ${part}) * ${read(s, 2, row)}`) };
      },
    }),
  );
  const sumColumns = (output: View, part: string, value: (s: S, at: string, row: string) => string): void =>
    c.store(
      output.data,
      overColumns(c, {
        ...{ name: `${part} ${name}`, rows, size, inputs },
        value: (s, { at, row }) => value(s, at, row),
      }),
    );
  sumColumns(dw!, "dw", (s, at, row) => s.let(`${read(s, 3, at)} * ${normalised(s, at, row)}`));
  if (db !== undefined) sumColumns(db, "db", (s, at) => read(s, 3, at));
}

export function normKernels(c: Context): Kernels {
  return {
    layerNorm: {
      inputs: "contiguous",

      run: ([x, w, b], [y, mean, inverse], { eps }) => {
        if (numel(x!.shape) === 0) return;
        const { size } = sizesOf(x!);
        const average = meanOf(c, x!);
        const deviation = inverseDeviation(c, "variance", x!, eps, average);
        const views = [x!, w!, b!];
        const read = reader(views);
        c.into(y!, {
          key: `layerNorm ${size} ${offsetsKey(views)}`,
          inputs: [...views.map((v) => c.operand(v)), average, deviation],
          body: (s, at) => {
            const { quotient: row, rest: column } = s.split(at, size);
            const d = `(${read(s, 0, at)} - ${s.loadFloat(3, row)}) * ${s.loadFloat(4, row)}`;
            return { kind: "float", text: s.let(`${d} * ${read(s, 1, column)} + ${read(s, 2, column)}`) };
          },
        });
        storeRows(c, mean!, average);
        storeRows(c, inverse!, deviation);
      },
    },
    rmsNorm: {
      inputs: "contiguous",

      run: ([x, w], [y, inverse], { eps }) => {
        if (numel(x!.shape) === 0) return;
        const { size } = sizesOf(x!);
        const deviation = inverseDeviation(c, "squares", x!, eps, undefined);
        const views = [x!, w!];
        const read = reader(views);
        c.into(y!, {
          key: `rmsNorm ${size} ${offsetsKey(views)}`,
          inputs: [...views.map((v) => c.operand(v)), deviation],
          body: (s, at) => {
            const { quotient: row, rest: column } = s.split(at, size);
            return {
              kind: "float",
              text: s.let(`${read(s, 0, at)} * ${s.loadFloat(2, row)} * ${read(s, 1, column)}`),
            };
          },
        });
        storeRows(c, inverse!, deviation);
      },
    },
    layerNormBackward: {
      inputs: "contiguous",

      run: ([x, w, mean, inverse, g], outputs) => {
        backward(c, { x: x!, w: w!, mean: mean!, inverse: inverse!, g: g! }, outputs);
      },
    },
    rmsNormBackward: {
      inputs: "contiguous",

      run: ([x, w, inverse, g], outputs) => backward(c, { x: x!, w: w!, inverse: inverse!, g: g! }, outputs),
    },
  };
}
