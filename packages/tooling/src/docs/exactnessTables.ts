import { figure, hosts, number, type Report, type Row, readReport, table } from "./report.ts";

// The tables of docs/reversibility.md that come from the suite `exactness`, so that no figure is typed by hand.

/** What a way of keeping streams keeps exact, in words; figures stand beside it. */
const kept: Readonly<Record<string, string>> = {
  exact: "reconstruction and gradients, overflow included",
  exact16: "the same",
  "grid-f32": "the same while no value leaves ±2^(24-s), which is an error",
  lossless: "the same, and the forward pass is that of `float`",
  float: "nothing; drift is measured and bounded by anchors",
  affine: "reconstruction and gradients; products beyond 32 bits are an error",
  momentum: "the same",
  bdia: "reconstruction and gradients; inference is the ordinary network's",
};

const titles: Readonly<Record<string, string>> = {
  affine: "`exact`, affine",
  momentum: "`exact`, momentum γ = 0.9",
  bdia: "`BdiaSequence`",
};

const report = (): { readonly host: string; readonly found: Report } | undefined => {
  for (const host of hosts()) {
    const found = readReport(host, "exactness");
    if (found !== undefined) return { host, found };
  }
  return undefined;
};

const value = (row: Row, name: string): unknown => (row as Readonly<Record<string, unknown>>)[name];

/** A row for every mode, and for the couplings that remember something. */
export function modesTable(): string {
  const saved = report();
  if (saved === undefined) return "";
  const { rows } = saved.found;
  const lines = Object.keys(kept).map((name) => {
    const own = rows.filter((r) => (value(r, "coupling") === "additive" ? r.mode : value(r, "coupling")) === name);
    const depths = own.map((r) => number(value(r, "blocks")));
    const at = (blocks: number, column: string, some = own): number =>
      Math.max(...some.filter((r) => value(r, "blocks") === blocks).map((r) => number(value(r, column))));
    const [least, most] = [Math.min(...depths), Math.max(...depths)];
    const inF32 = own.filter((r) => value(r, "fDtype") === "f32");
    const equal = own.filter(
      (r) => value(r, "reconstructionBitEqual") === true && value(r, "gradientsBitEqual") === true,
    );
    return [
      titles[name] ?? `\`${name}\``,
      String(at(most, "streamBytes")),
      figure(at(most, "sideBits")),
      `${exponent(at(least, "outputDifference", inF32))} … ${exponent(at(most, "outputDifference", inF32))}`,
      `${equal.length} of ${own.length}`,
      kept[name]!,
    ];
  });
  return table(
    [
      "",
      "bytes of a stream's element",
      "side bits an element and block",
      "outputs off those of float streams",
      "cases bit-equal",
      "what stays exact",
    ],
    lines,
  );
}

/** Relative errors of the gradients with float streams, by depth. */
export function floatErrorsTable(): string {
  const saved = report();
  if (saved === undefined) return "";
  const rows = saved.found.rows.filter((r) => r.mode === "float" && value(r, "coupling") === "additive");
  const depths = [...new Set(rows.map((r) => number(value(r, "blocks"))))];
  const columns = [
    ["float32", "f32", 0],
    ["float32, dropout", "f32", 0.1],
    ["bfloat16", "bf16", 0],
    ["bfloat16, dropout", "bf16", 0.1],
  ] as const;
  return table(
    ["blocks", ...columns.map(([title]) => title)],
    depths.map((blocks) => [
      String(blocks),
      ...columns.map(([, fDtype, dropout]) => {
        const row = rows.find(
          (r) => value(r, "blocks") === blocks && value(r, "fDtype") === fDtype && value(r, "dropout") === dropout,
        );
        return row === undefined ? "" : exponent(number(value(row, "gradientRelativeError")));
      }),
    ]),
  );
}

const exponent = (v: number): string => (v === 0 ? "0" : v.toExponential(1));
