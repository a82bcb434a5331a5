import { characterWidth, type PlotArea, px, spaced, widest, xTick, yTick } from "./axes.ts";
import { chartScale } from "./chartScale.ts";
import { drawing } from "./drawing.ts";
import { html, type Markup } from "./markup.ts";
import { formatFigure } from "./units.ts";

/** Quantities from one instant to the next sample. */
export interface StackedSample {
  readonly x: number;
  /** One a layer, none negative. */
  readonly values: readonly number[];
}

/** A stretch of the horizontal axis with a name, drawn as a strip above the areas. */
export interface Band {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

export interface StackedChart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** From the lowest to the highest; at most six have colours of their own. */
  readonly layers: readonly string[];
  /** In order of x. Values hold until the next sample; the last one ends the chart. */
  readonly samples: readonly StackedSample[];
  readonly bands?: readonly Band[];
  /** Horizontal lines to compare with (a budget). */
  readonly referenceLines?: readonly { readonly name: string; readonly y: number }[];
  readonly yBase?: "decimal" | "binary";
  readonly formatX?: (value: number) => string;
  readonly formatY?: (value: number) => string;
  readonly id?: string;
}

const size = { width: 820, height: 440 };
const COLOURS = 6;
/** Samples of one column of pixels are drawn as the highest of them, so that no peak is lost. */
const COLUMNS = 700;

const total = ({ values }: StackedSample): number => values.reduce((a, b) => a + b, 0);

/**
 * Layers of quantities over time, one upon the other, as steps: no script, no external file, light and dark. The highest instant is
 * marked. Stands alone as a file too.
 */
export function svgStackedChart(chart: StackedChart): string {
  const { title, xLabel, yLabel, layers, samples, bands = [], formatX = formatFigure, formatY = formatFigure } = chart;
  const highest = samples.reduce<StackedSample | undefined>(
    (best, s) => (best === undefined || total(s) > total(best) ? s : best),
    undefined,
  );
  const references = (chart.referenceLines ?? []).filter(({ y }) => Number.isFinite(y));
  const [first, last] = [samples[0]?.x ?? 0, samples.at(-1)?.x ?? 1];
  const yMost = Math.max(highest === undefined ? 0 : total(highest), ...references.map(({ y }) => y));
  const yScale = chartScale(0, yMost || 1, { base: chart.yBase ?? "decimal" });
  const xScale = chartScale(first, last);
  const formatTick = (value: number): string => formatY(value).replace(/\.0+(?!\d)/, "");
  const plot = {
    left: 28 + widest(yScale.ticks.map(formatTick), characterWidth.plain),
    top: bands.length > 0 ? 116 : 92,
    right: size.width - 24,
    bottom: size.height - 50,
  };
  // The axis ends with the samples, not with the next round number.
  const x = (value: number): number =>
    plot.left + (last === first ? 0 : (value - first) / (last - first)) * (plot.right - plot.left);
  const y = (value: number): number => plot.bottom - yScale.place(value) * (plot.bottom - plot.top);
  const ticks = spaced(xScale).filter((tick) => tick >= first && tick <= last);
  const used = layers.map((_, i) => samples.some(({ values }) => (values[i] ?? 0) > 0));

  return drawing(
    { ...size, title, id: chart.id, description: describe(chart, highest, formatX, formatY) },
    html`<text class="axis-label" x="16" y="44">${yLabel}</text>
<text class="axis-label" x="${plot.right}" y="${size.height - 10}" text-anchor="end">${xLabel}</text>
${legend(layers.map((name, i) => ({ name, className: colour(i) })).filter((_, i) => used[i]))}
${yScale.ticks.map((tick) => yTick(tick, y(tick), plot, formatTick))}
${areas(thin(samples, first, last), layers.length, x, y)}
${strip(bands, plot, x)}
<line class="axis" x1="${plot.left}" x2="${plot.right}" y1="${plot.bottom}" y2="${plot.bottom}"/>
${ticks.map((tick) => xTick(tick, x(tick), plot, formatX))}
${references.map((line) => referenceLine(`${line.name} ${formatY(line.y)}`, y(line.y), plot))}
${highest !== undefined && peakMark(`peak ${formatY(total(highest))}`, x(highest.x), y(total(highest)), plot)}
${samples.length === 0 && html`<text class="empty" x="${px((plot.left + plot.right) / 2)}" y="${px((plot.top + plot.bottom) / 2)}" text-anchor="middle">no data</text>`}
`,
  );
}

const colour = (layer: number): string => `a${(layer % COLOURS) + 1}`;

function legend(entries: readonly { readonly name: string; readonly className: string }[]): Markup {
  let left = 16;
  const parts = entries.map(({ name, className }) => {
    const at = left;
    left += 24 + name.length * characterWidth.plain + 14;
    return html`<rect class="area ${className}" x="${px(at)}" y="60" width="12" height="12" rx="3"/>
<text x="${px(at + 18)}" y="71">${name}</text>
`;
  });
  return html`${parts}`;
}

/** One sample a column of pixels, the highest in it. */
function thin(samples: readonly StackedSample[], first: number, last: number): StackedSample[] {
  if (samples.length <= COLUMNS) return [...samples];
  const width = (last - first) / COLUMNS || 1;
  const kept: StackedSample[] = [];
  let column = -1;
  for (const sample of samples) {
    const own = Math.min(COLUMNS - 1, Math.floor((sample.x - first) / width));
    const before = kept.at(-1);
    if (own > column) kept.push({ x: first + own * width, values: sample.values });
    else if (total(sample) > total(before!)) kept[kept.length - 1] = { x: before!.x, values: sample.values };
    column = own;
  }
  return [...kept, { x: last, values: samples.at(-1)!.values }];
}

function areas(
  samples: readonly StackedSample[],
  layers: number,
  x: (value: number) => number,
  y: (value: number) => number,
): Markup {
  const sums = samples.map(() => 0);
  const parts: Markup[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const lower = [...sums];
    samples.forEach(({ values }, i) => {
      sums[i]! += values[layer] ?? 0;
    });
    if (sums.every((sum, i) => sum === lower[i])) continue;
    const [top, bottom] = [steps(samples, sums, x, y), steps(samples, lower, x, y)];
    parts.push(
      html`<path class="area ${colour(layer)}" d="M${top.join("L")}L${bottom.reverse().join("L")}Z"/>
`,
    );
  }
  return html`${parts}`;
}

/** Corners of a course that holds each value until the next sample. */
function steps(
  samples: readonly StackedSample[],
  heights: readonly number[],
  x: (value: number) => number,
  y: (value: number) => number,
): string[] {
  const corners: string[] = [];
  samples.forEach((sample, i) => {
    if (i > 0 && heights[i] !== heights[i - 1]) corners.push(`${px(x(sample.x))} ${px(y(heights[i - 1]!))}`);
    if (i === 0 || i === samples.length - 1 || heights[i] !== heights[i - 1])
      corners.push(`${px(x(sample.x))} ${px(y(heights[i]!))}`);
  });
  return corners;
}

function strip(bands: readonly Band[], plot: PlotArea, x: (value: number) => number): Markup {
  const names = [...new Set(bands.map(({ name }) => name))];
  const parts = bands.map(({ name, from, to }) => {
    const [left, width] = [x(from), Math.max(0, x(to) - x(from))];
    const fits = name.length * characterWidth.plain + 8 <= width;
    return html`<rect class="band b${(names.indexOf(name) % 3) + 1}" x="${px(left)}" y="${plot.top - 26}" width="${px(width)}" height="18" rx="3"><title>${name}</title></rect>
${fits && html`<text class="band-name" x="${px(left + width / 2)}" y="${plot.top - 13}" text-anchor="middle">${name}</text>`}
`;
  });
  return html`${parts}`;
}

function referenceLine(text: string, y: number, plot: PlotArea): Markup {
  const isHigh = y - 20 < plot.top;
  return html`<line class="limit" x1="${plot.left}" x2="${plot.right}" y1="${px(y)}" y2="${px(y)}"/>
<text class="note" x="${plot.right - 6}" y="${px(isHigh ? y + 16 : y - 6)}" text-anchor="end">${text}</text>
`;
}

function peakMark(text: string, x: number, y: number, plot: PlotArea): Markup {
  const width = text.length * characterWidth.bold;
  const isLeft = x + width + 14 > plot.right;
  return html`<line class="peak" x1="${px(x)}" x2="${px(x)}" y1="${px(y)}" y2="${plot.bottom}"/>
<circle class="peak-dot" cx="${px(x)}" cy="${px(y)}" r="4"/>
<text class="note" x="${px(isLeft ? x - 9 : x + 9)}" y="${px(Math.max(plot.top + 12, y - 6))}" text-anchor="${isLeft ? "end" : "start"}">${text}</text>
`;
}

/** The chart in words. */
function describe(
  { layers, xLabel, yLabel, bands = [] }: StackedChart,
  highest: StackedSample | undefined,
  formatX: (value: number) => string,
  formatY: (value: number) => string,
): string {
  const what = `Stacked areas of ${yLabel} against ${xLabel}.`;
  if (highest === undefined) return what;
  const parts = layers.flatMap((name, i) =>
    (highest.values[i] ?? 0) > 0 ? [`${name} ${formatY(highest.values[i]!)}`] : [],
  );
  const during = bands.find(({ from, to }) => from <= highest.x && highest.x <= to);
  const where = during === undefined ? "" : ` during ${during.name}`;
  return `${what} The highest instant is ${formatY(total(highest))} at ${formatX(highest.x)}${where}: ${parts.join(", ")}.`;
}
