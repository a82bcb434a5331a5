import { type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Slot, View } from "../slot.ts";
import { literal, type Source, textOf, type Value } from "../text/source.ts";
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

/** Inputs before the parameters: factor and schedule. */
const LEADING = 2;

/** What is computed, or what was there before where the factor is not finite. */
function orKept(s: Source, factor: string, before: string, next: string): Value {
  const text = s.let(before);
  s.if(`Math.abs(${factor}) <= ${literal(3.4028234e38)}`, () => s.line(`${text} = ${next};`));
  return { kind: "float", text };
}

export function optimizerKernels(c: Context): Kernels {
  return {
    adamw: {
      run: (inputs, outputs, { beta1, beta2, eps, weightDecay }) => {
        const [factor, schedule] = inputs as [View, View];
        for (let i = 0; LEADING + 4 * i < inputs.length; i++) {
          const [p, g, m, v] = inputs.slice(LEADING + 4 * i, LEADING + 4 + 4 * i) as [View, View, View, View];
          if (numel(p.shape) === 0) continue;
          const scale = repeated(factor, p);
          const m1 = map(c, `adamw m ${beta1}`, [m, g, scale], "f32", (s, list) => {
            const [a, b, f] = list.map(textOf) as [string, string, string];
            return orKept(s, f, a, `${a} * ${literal(beta1)} + ${b} * ${f} * ${literal(1 - beta1)}`);
          });
          const v1 = map(c, `adamw v ${beta2}`, [v, g, scale], "f32", (s, list) => {
            const [a, b, f] = list.map(textOf) as [string, string, string];
            const scaled = s.let(`${b} * ${f}`);
            return orKept(s, f, a, `${a} * ${literal(beta2)} + ${scaled} * ${scaled} * ${literal(1 - beta2)}`);
          });
          const [pOut, mOut, vOut] = outputs.slice(3 * i, 3 * i + 3) as [View, View, View];
          c.store(mOut.data, m1);
          c.store(vOut.data, v1);
          const scheduled = [0, 1, 2].map((k) => repeated({ ...schedule, offset: schedule.offset + k }, p));
          const p1 = map(c, `adamw p ${eps} ${weightDecay}`, [p, mOut, vOut, scale, ...scheduled], "f32", (s, list) => {
            const [a, b, d, f, rate, first, second] = list.map(textOf) as string[];
            const denominator = s.let(`Math.sqrt(${d} / ${second}) + ${literal(eps)}`);
            const direction = s.let(`${b} / ${first} / ${denominator} + ${a} * ${literal(weightDecay)}`);
            return orKept(s, f!, a!, `${a} - ${direction} * ${rate}`);
          });
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
