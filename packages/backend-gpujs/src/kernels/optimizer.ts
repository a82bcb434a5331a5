import { type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Slot, View } from "../slot.ts";
import { literal, textOf } from "../text/source.ts";
import type { Context, Operand } from "./context.ts";
import { map } from "./map.ts";
import { asWord, foldRows, productFold, rowsOf, sumFold } from "./reduce.ts";

type Kernels = Pick<FusedKernels<Slot>, "adamw" | "globalNorm" | "prod">;

/** A scalar shown as another view's shape. */
const repeated = (scalar: View, like: View): View => ({
  ...scalar,
  shape: like.shape,
  strides: like.shape.map(() => 0),
});

export function optimizerKernels(c: Context): Kernels {
  return {
    adamw: {
      run: (inputs, outputs, { learningRate, beta1, beta2, eps, weightDecay, step }) => {
        const [factor] = inputs as [View];
        // What changes from step to step is a number of the kernels, never part of their text.
        const [first, second] = [1 - beta1 ** step, 1 - beta2 ** step];
        for (let i = 0; 1 + 4 * i < inputs.length; i++) {
          const [p, g, m, v] = inputs.slice(1 + 4 * i, 5 + 4 * i) as [View, View, View, View];
          if (numel(p.shape) === 0) continue;
          const scale = repeated(factor, p);
          const m1 = map(c, `adamw m ${beta1}`, [m, g, scale], "f32", (s, list) => {
            const [a, b, f] = list.map(textOf);
            return { kind: "float", text: s.let(`${a} * ${literal(beta1)} + ${b} * ${f} * ${literal(1 - beta1)}`) };
          });
          const v1 = map(c, `adamw v ${beta2}`, [v, g, scale], "f32", (s, list) => {
            const [a, b, f] = list.map(textOf);
            const scaled = s.let(`${b} * ${f}`);
            return {
              kind: "float",
              text: s.let(`${a} * ${literal(beta2)} + ${scaled} * ${scaled} * ${literal(1 - beta2)}`),
            };
          });
          const [pOut, mOut, vOut] = outputs.slice(3 * i, 3 * i + 3) as [View, View, View];
          c.store(mOut.data, m1);
          c.store(vOut.data, v1);
          const p1 = map(
            c,
            `adamw p ${eps} ${weightDecay}`,
            [p, mOut, vOut],
            "f32",
            (s, list) => {
              const [a, b, d] = list.map(textOf);
              const denominator = s.let(`Math.sqrt(${d} / n1) + ${literal(eps)}`);
              const direction = s.let(`${b} / n0 / ${denominator} + ${a} * ${literal(weightDecay)}`);
              return { kind: "float", text: s.let(`${a} - ${direction} * n2`) };
            },
            [first, second, learningRate],
          );
          c.store(pOut.data, p1);
        }
      },
    },
    globalNorm: {
      run: (inputs, [y]) => {
        const parts = inputs.filter((x) => numel(x.shape) > 0);
        if (parts.length === 0) return c.fill(y!, 0);
        let total: Operand | undefined;
        for (const x of parts) {
          const rows = rowsOf(
            c,
            x,
            x.shape.map((_, d) => d),
            (s, v) => ({ kind: "float", text: s.let(`${textOf(v)} * ${textOf(v)}`) }),
          );
          const own = foldRows(c, { ...rows, key: `squares ${rows.key}` }, sumFold("f32"), "f32");
          if (total === undefined) total = own;
          else {
            const before = total;
            total = c.with([before, own], () =>
              c.make({
                key: "add",
                dtype: "f32",
                elements: 1,
                inputs: [before, own],
                body: (s, i) => ({ kind: "float", text: s.let(`${s.loadFloat(0, i)} + ${s.loadFloat(1, i)}`) }),
              }),
            );
          }
        }
        const sum = total!;
        c.with([sum], () =>
          c.into(y!, {
            key: "sqrt",
            inputs: [sum],
            body: (s, i) => ({ kind: "float", text: s.let(`Math.sqrt(${s.loadFloat(0, i)})`) }),
          }),
        );
      },
    },
    prod: {
      run: ([x], [y], { axes }) => {
        if (numel(y!.shape) === 0) return;
        if (numel(x!.shape) === 0) return c.fill(y!, 1);
        c.store(y!.data, foldRows(c, rowsOf(c, x!, axes, asWord), productFold(y!.dtype), y!.dtype));
      },
    },
  };
}
