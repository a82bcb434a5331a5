import { type FusedKernels, fillRandomBits, numel } from "@revnet-zero/tensor";
import type { Slot } from "../slot.ts";
import { textOf } from "../text/source.ts";
import { type Context, rowView } from "./context.ts";
import { map } from "./map.ts";

/** The mask is drawn on the host, one number an element, and uploaded; the same key draws it again in backward. */
export function dropoutKernels(c: Context): Pick<FusedKernels<Slot>, "dropout"> {
  return {
    dropout: {
      inputs: "contiguous",
      run: ([x], [y], { p, key }) => {
        const elements = numel(x!.shape);
        if (elements === 0) return;
        const bits = new Int32Array(elements);
        fillRandomBits(bits, key);
        const least = Math.ceil(p * 2 ** 24);
        const mask = {
          words: c.device.upload(Float32Array.from(bits, (b) => (b >>> 8 >= least ? 1 : 0))),
          dtype: "bool",
          elements,
        } as const;
        c.with([mask], () => {
          const kept = map(
            c,
            "dropout",
            [{ ...x!, shape: [elements], strides: [1] }, rowView(mask)],
            "f32",
            (s, [v, keep]) => {
              const found = s.let("num(0)");
              s.if(`${textOf(keep!)} > 0.5`, () => s.line(`${found} = ${textOf(v!)} * n0;`));
              return { kind: "float", text: found };
            },
            [1 / (1 - p)],
          );
          c.store(y!.data, kept);
        });
      },
    },
  };
}
