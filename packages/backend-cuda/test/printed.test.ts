import { type DType, dtypes, type ElementwiseOp, type OpName, ops } from "@revnet-zero/tensor";
import { samples, subject } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { bodyFunction, castBody, type MapBody, opBody, ownText } from "../src/elementwise/source.ts";

// What the printer makes of the op table, for readers: native-cuda/printed. `npm test -- <this file> -u` writes it again.
const printed = (name: string): string => new URL(`../../../native-cuda/printed/${name}`, import.meta.url).pathname;
const written =
  "// Written by packages/backend-cuda/test/printed.test.ts: `npm test -- printed.test.ts -u`; do not edit.";

/** For the few ops that have attributes. */
const attrs = { fractionBits: 16, dtype: "i8" };

/** A body of an op for each kind of number it takes: floats, integers and truth. */
function bodiesOf(name: OpName): MapBody[] {
  const { op, sampler } = subject(name);
  const shown = (["f32", "i32", "i16", "bool"] as const).filter((d) => sampler.dtypes.includes(d));
  const kinds = new Map(shown.toReversed().map((d) => [dtypes[d].kind, d]));
  return [...kinds.values()].reverse().map((dtype) => {
    const [sample] = fc.sample(samples(sampler, { dtype, values: "plain" }), { numRuns: 1, seed: 1 });
    const types = sample!.operands.map((o) => o.dtype);
    const [output] = op.meta(
      types.map((d) => ({ shape: [], dtype: d })),
      attrs,
    );
    return opBody(op as ElementwiseOp<unknown>, attrs, output!.dtype, types);
  });
}

test("native-cuda/printed/bodies.cu is what the printer makes of every elementwise op, and of casts", async () => {
  const names = (Object.keys(ops) as OpName[]).filter((name) => ops[name].kind === "elementwise");
  const lines = names.flatMap((name) => [
    "",
    `// ${name}: ${ops[name].doc}`,
    ...new Set(bodiesOf(name).map((body) => bodyFunction(body, name))),
  ]);
  const casts: readonly (readonly [DType, DType])[] = [
    ["bf16", "f32"],
    ["i32", "f32"],
    ["f32", "bool"],
  ];
  const castLines = casts.map(([to, from]) => bodyFunction(castBody(to, from), "cast"));
  const text = [
    written,
    "// a0, a1: elements as they are stored; wide and narrow (kernels/prelude.cu) take them to the numbers they are computed with and",
    "// back. In float64 the same with double for float, and without the letter f. What is not C's own is in kernels/map.cu.",
    ...[...lines, "", "// cast", ...castLines, ""],
  ].join("\n");
  await expect(text).toMatchFileSnapshot(printed("bodies.cu"));
});

test("native-cuda/printed/walks.cu is how a body is walked over operands of every layout", async () => {
  const add = opBody(ops.add, undefined, "f32", ["f32", "f32"]);
  const exp = opBody(ops.exp, undefined, "bf16", ["bf16"]);
  const plain = [false, false, false];
  const kernels: readonly (readonly [string, string])[] = [
    ["One loop, four elements at once.", ownText(add, { rank: 1, pack: 4, repeats: plain, isLong: false })],
    [
      "A row added to every row of a matrix: two loops; 16 bytes of each operand are 4 elements.",
      ownText(add, { rank: 2, pack: 4, repeats: plain, isLong: false }),
    ],
    [
      "A column added to every column: one element of it for all of a pack.",
      ownText(add, { rank: 2, pack: 4, repeats: [false, false, true], isLong: false }),
    ],
    [
      "Any strides, 2^31 elements and more: one element at a time, counted in 64 bits.",
      ownText(add, { rank: 3, pack: 1, repeats: plain, isLong: true }),
    ],
    ["bfloat16, eight at once.", ownText(exp, { rank: 1, pack: 8, repeats: plain.slice(1), isLong: false })],
  ];
  const text = [
    written,
    "// Each of these is compiled behind kernels/prelude.cu and kernels/map.cu.",
    ...kernels.map(([what, kernel]) => `\n// ${what}\n${kernel}`.trimEnd()),
    "",
  ].join("\n");
  await expect(text).toMatchFileSnapshot(printed("walks.cu"));
});
