import {
  type ChartPoint,
  formatBytes,
  formatFigure,
  groupDigits,
  html,
  Markup,
  type MarkupValue,
  pageStyle,
  svgLineChart,
} from "@revnet-zero/plot";
import { type HeadlineFigure, headlineFigures } from "./headline.ts";
import type { ExactnessProof, LossCurves, MemoryCurves, ReportData, TextSample } from "./reportData.ts";

/**
 * A training run as one HTML page: no script, nothing loaded from anywhere, light and dark, readable by ear and on paper.
 * The same data give the same page, and stand in it as JSON (the element `report-data`).
 */
export function renderReport(data: ReportData): string {
  const { title, createdAt, run, loss, memory, exactness, sample, config, environment } = data;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title} \u2014 RevNet-Zero</title>
<style>${pageStyle}</style>
</head>
<body>
<header>
<p class="brand">RevNet-Zero training report</p>
<h1>${title}</h1>
${createdAt !== undefined && html`<p class="date">${createdAt}</p>`}
</header>
<main>
<section class="figures" aria-label="Headline figures">
${headlineFigures(data).map(figure)}
</section>
${lossSection(loss, run.peakBytes)}
${memory !== undefined && memory.points.length > 0 && memorySection(memory)}
${exactness !== undefined && exactness.rows.length > 0 && exactnessSection(exactness)}
${sample !== undefined && sampleSection(sample)}
${section("config", "Configuration", "What the run was decided by.", html`<div class="groups">${groups(config)}</div>`)}
${section("environment", "Environment", "What it ran on.", html`<div class="groups">${group("", environment)}</div>`)}
</main>
<script type="application/json" id="report-data">${new Markup(JSON.stringify(data).replaceAll("<", "\\u003c"))}</script>
</body>
</html>
`.text;
}

function section(id: string, heading: string, lead: MarkupValue, body: MarkupValue): Markup {
  return html`<section aria-labelledby="${id}">
<h2 id="${id}">${heading}</h2>
<p class="lead">${lead}</p>
${body}
</section>
`;
}

function figure({ value, label, note, isBad = false }: HeadlineFigure): Markup {
  return html`<div class="figure${isBad ? " bad" : ""}"><p class="value">${value}</p><p class="label">${label}</p><p class="note">${note}</p></div>
`;
}

function lossSection({ train, heldOut, unigramBits, bigramBits }: LossCurves, peakBytes: number): Markup {
  const smooth = smoothed(train);
  const chart = svgLineChart({
    title: "Loss during training",
    xLabel: "optimizer step",
    yLabel: "bits per byte, lower is better",
    series: [
      ...(smooth === train ? [] : [{ name: "training, each step", points: train, color: 2, isFaint: true } as const]),
      { name: "training", points: smooth, color: 2 },
      { name: "held-out", points: heldOut, color: 1 },
    ],
    referenceLines: [
      ...(unigramBits === undefined ? [] : [{ name: "byte frequencies", y: unigramBits }]),
      ...(bigramBits === undefined ? [] : [{ name: "byte pairs", y: bigramBits }]),
    ],
    formatY: (value) => String(Number(value.toFixed(2))),
  });
  const counting =
    unigramBits === undefined || bigramBits === undefined
      ? ""
      : ` Dashed: the cross-entropy of the whole held-out text under what is counted in the training text, every count raised by one:
bytes (${unigramBits.toFixed(3)}) and bytes given the one before (${bigramBits.toFixed(3)}).`;
  const rows = sampled(heldOut, 12).map(({ x, y }) => [groupDigits(x), y.toFixed(4)]);
  return section(
    "loss",
    "Loss",
    html`How many bits the model needs for a byte of text it has never seen.${counting} The run held at most
${formatBytes(peakBytes)} of tensors.`,
    html`<figure class="chart">${new Markup(chart)}</figure>
${details("Held-out loss as a table", table(["Step", "Bits per byte"], rows))}`,
  );
}

function memorySection({ points, note }: MemoryCurves): Markup {
  const sorted = [...points].sort((a, b) => a.depth - b.depth);
  const chart = svgLineChart({
    title: "Activation memory against depth",
    xLabel: "blocks",
    yLabel: "bytes at the peak of a training step",
    series: [
      { name: "stored", points: sorted.map(({ depth, storedBytes }) => ({ x: depth, y: storedBytes })), color: 2 },
      {
        name: "reversible",
        points: sorted.map(({ depth, reversibleBytes }) => ({ x: depth, y: reversibleBytes })),
        color: 1,
      },
    ],
    yBase: "binary",
    yFrom: 0,
    formatY: formatBytes,
  });
  const rows = sorted.map(({ depth, storedBytes, reversibleBytes }) => [
    groupDigits(depth),
    formatBytes(storedBytes),
    formatBytes(reversibleBytes),
    `${(storedBytes / reversibleBytes).toFixed(1)}\u00d7`,
  ]);
  return section(
    "memory",
    "Memory",
    note ??
      "Ordinary backpropagation keeps every block's activations; a reversible network rebuilds them from its output.",
    html`<figure class="chart">${new Markup(chart)}</figure>
${details("Memory as a table", table(["Blocks", "Stored", "Reversible", "Saved"], rows))}`,
  );
}

function exactnessSection({ rows, note }: ExactnessProof): Markup {
  const mark = (isEqual: boolean): Markup =>
    isEqual ? html`<span class="yes">\u2713 bit-equal</span>` : html`<span class="no">\u2717 differs</span>`;
  return section(
    "exactness",
    "Exactness",
    note ??
      "Rebuilt activations and the gradients from them, compared bit by bit with those of stored backpropagation.",
    table(
      ["Network", "Reconstruction", "Gradients", "Numbers compared"],
      rows.map((row) => [
        row.name,
        mark(row.isReconstructionBitEqual),
        mark(row.isGradientBitEqual),
        groupDigits(row.elementsCompared),
      ]),
      1,
    ),
  );
}

function sampleSection({ prompt, text, note }: TextSample): Markup {
  return section(
    "sample",
    "A sample of its writing",
    note ?? "Drawn from the model byte by byte, after the marked beginning.",
    html`<pre class="sample" tabindex="0"><mark>${prompt}</mark>${text}</pre>`,
  );
}

/** The first column is text; of the others those from `firstNumber` on, counted from the end if there is text between, are numbers. */
function table(
  heads: readonly string[],
  rows: readonly (readonly MarkupValue[])[],
  numbers: number = heads.length,
): Markup {
  const isNumber = (column: number): string => (heads.length - column <= numbers ? ' class="number"' : "");
  return html`<div class="scroll"><table>
<thead><tr>${heads.map((head, i) => html`<th scope="col"${new Markup(isNumber(i))}>${head}</th>`)}</tr></thead>
<tbody>
${rows.map((row) => html`<tr>${row.map((cell, i) => html`<td${new Markup(isNumber(i))}>${cell}</td>`)}</tr>\n`)}</tbody>
</table></div>`;
}

function details(summary: string, body: Markup): Markup {
  return html`<details><summary>${summary}</summary>${body}</details>`;
}

/** An object of objects, a list of definitions each. */
function groups(config: object): Markup[] {
  return Object.entries(config).map(([name, values]) =>
    typeof values === "object" && values !== null && !Array.isArray(values)
      ? group(name, values)
      : group("", { [name]: values }),
  );
}

function group(name: string, values: object): Markup {
  return html`<div class="group">${name !== "" && html`<h3>${name}</h3>`}<dl>${Object.entries(values).map(
    ([key, value]) => html`<div><dt>${key}</dt><dd>${show(value)}</dd></div>`,
  )}</dl></div>
`;
}

function show(value: unknown): string {
  if (typeof value === "number") return formatFigure(value);
  return typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
}

/**
 * The mean over a window around each point, a fiftieth of the curve wide; a short curve stays as it is. At the steep beginning the window
 * is narrower and even, at the flat end one-sided.
 */
function smoothed(points: readonly ChartPoint[]): readonly ChartPoint[] {
  if (points.length < 50) return points;
  const most = Math.ceil(points.length / 100);
  return points.map(({ x }, i) => {
    const reach = Math.min(most, i);
    const around = points.slice(i - reach, i + reach + 1).filter(({ y }) => Number.isFinite(y));
    return { x, y: around.reduce((sum, { y }) => sum + y, 0) / around.length };
  });
}

/** At most so many points, evenly spread, first and last among them. */
function sampled<T>(points: readonly T[], most: number): T[] {
  if (points.length <= most) return [...points];
  return Array.from({ length: most }, (_, i) => points[Math.round((i * (points.length - 1)) / (most - 1))]!);
}
