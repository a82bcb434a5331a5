import { type FusedKernels, numel } from "@revnet-zero/tensor";
import type { Slot } from "../slot.ts";
import { literal, textOf } from "../text/source.ts";
import * as words from "../text/words.ts";
import type { Context } from "./context.ts";
import { map } from "./map.ts";
import { foldRows, storedRows, sumFold } from "./reduce.ts";

type Word = words.Word;

/** x ± quantise(f) modulo 2^32 in one kernel, and the counts of three flags packed into one: each thread's flags are 0 or 1. */
export function fixedPointKernels(c: Context): Pick<FusedKernels<Slot>, "fixedPointAdd"> {
  return {
    fixedPointAdd: {
      inputs: "contiguous",

      run: ([x, f, before], [y, record], { fractionBits, sign, row = 0 }) => {
        const elements = numel(x!.shape);
        if (elements === 0) return;
        const op = sign === 1 ? "+" : "-";
        const name = `fixedPointAdd ${fractionBits} ${op}`;
        const sum = map(c, name, [x!, f!], "i32", (s, [stream, increment]) => {
          const scaled = s.let(`${textOf(increment!)} * ${literal(2 ** fractionBits)}`);
          return words.sum(s, stream as Word, words.fixed(s, scaled), op);
        });
        if (record !== undefined) {
          // Saturated, wrapped and NaN, as [3, elements]: the rows of a sum.
          const flags = c.make({
            key: `flags of ${name} ${x!.offset} ${f!.offset}`,
            dtype: "f32",
            elements: 3 * elements,
            inputs: [c.operand(x!), c.operand(f!)],
            body: (s, position) => {
              const { quotient: which, rest: i } = s.split(position, elements);
              const stream = s.load(0, s.let(`${i} + ${x!.offset}`)) as Word;
              const increment = s.loadFloat(1, s.let(`${i} + ${f!.offset}`));
              const scaled = s.let(`${increment} * ${literal(2 ** fractionBits)}`);
              const { high } = words.plainSum(s, stream, words.fixed(s, scaled), op);
              const flag = s.let("num(0)");
              s.if(`${which} < 0.5 && (${scaled} >= 2147483648 || ${scaled} < -2147483648)`, () =>
                s.line(`${flag} = num(1);`),
              );
              s.if(`${which} > 0.5 && ${which} < 1.5 && (${high} > 32767 || ${high} < -32768)`, () =>
                s.line(`${flag} = num(1);`),
              );
              s.if(`${which} > 1.5`, () => s.line(`${flag} = notNumber(${scaled});`));
              return { kind: "float", text: flag };
            },
          });
          // Whole numbers below 2^24: their float sums are exact.
          const totals = c.with([flags], () => foldRows(c, storedRows(flags, 3, elements), sumFold("f32"), "f32"));
          c.with([totals], () =>
            c.into(record!, {
              key: "counts",
              inputs: [c.operand(before!), totals],
              numbers: [row],
              body: (s, position) => {
                const { quotient, rest } = s.split(position, 3);
                const held = s.load(0, position) as Word;
                const more = words.sum(s, held, words.fromWhole(s, s.loadFloat(1, rest)), "+");
                return words.choose(s, `${quotient} === n0`, more, held);
              },
            }),
          );
        }
        c.store(y!.data, sum);
      },
    },
  };
}
