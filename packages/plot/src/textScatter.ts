import { range } from "./axes.ts";
import { chartScale } from "./chartScale.ts";
import type { ScatterChart } from "./svgScatterChart.ts";
import { formatFigure } from "./units.ts";

export interface TextScatterOptions {
  /** Columns of text in all. Default 78. */
  readonly width?: number;
  /** Lines of the plot itself. Default 14. */
  readonly height?: number;
}

/** Marks of named points, in order; the one that was chosen is always `@`. */
const marks = "xo+*#%&";

/** The same chart in characters, for a terminal: the front as dots, points as marks with a legend below. */
export function textScatter(chart: ScatterChart, { width = 78, height = 14 }: TextScatterOptions = {}): string[] {
  const { front, points = [], limit, formatX = formatFigure, formatY = formatFigure } = chart;
  const all = [...front.points, ...points];
  if (all.length === 0) return [chart.title, "  no data"];
  const xScale = chartScale(...range([...all.map(({ x }) => x), ...(limit === undefined ? [] : [limit.x])]), {
    base: chart.xBase ?? "decimal",
  });
  const yScale = chartScale(...range(all.map(({ y }) => y)));
  const short = (format: (value: number) => string) => (value: number) => format(value).replace(/\.0+(?!\d)/, "");
  const [xText, yText] = [short(formatX), short(formatY)];
  const row = (y: number): number => Math.round((1 - yScale.place(y)) * (height - 1));
  const labels = new Map(yScale.ticks.map((tick) => [row(tick), yText(tick)]));
  const margin = Math.max(...[...labels.values()].map((text) => text.length));
  const columns = Math.max(20, width - margin - 3);
  const column = (x: number): number => Math.round(xScale.place(x) * (columns - 1));
  const grid = Array.from({ length: height }, () => new Array<string>(columns).fill(" "));
  const put = (x: number, y: number, mark: string): void => {
    grid[y]![x] = mark;
  };

  if (limit !== undefined) for (let y = 0; y < height; y++) put(column(limit.x), y, ":");
  front.points.forEach((point, i) => {
    const next = front.points[i + 1];
    // Right at the same height, then down: what a budget between two plans buys.
    for (let x = column(point.x); next !== undefined && x < column(next.x); x++) put(x, row(point.y), "-");
  });
  for (const { x, y } of front.points) put(column(x), row(y), ".");
  const named = points.map((point, i) => ({ point, mark: point.isChosen ? "@" : marks[i % marks.length]! }));
  for (const { point, mark } of named.filter(({ point }) => !point.isChosen)) put(column(point.x), row(point.y), mark);
  for (const { point, mark } of named.filter(({ point }) => point.isChosen)) put(column(point.x), row(point.y), mark);

  const lines = grid.map((cells, i) => `${(labels.get(i) ?? "").padStart(margin)} |${cells.join("").trimEnd()}`);
  return [
    chart.title,
    `${chart.yLabel}`,
    ...lines,
    `${" ".repeat(margin)} +${"-".repeat(columns)}`,
    `${" ".repeat(margin + 2)}${tickLine(
      xScale.ticks.map((tick) => ({ at: column(tick), text: xText(tick) })),
      columns,
    )}`,
    `${" ".repeat(margin + 2)}${chart.xLabel}`,
    `  . ${front.name}${limit === undefined ? "" : `   : ${limit.name} ${formatX(limit.x)}`}`,
    ...named.map(({ point, mark }) => `  ${mark} ${point.name}: ${formatY(point.y)} at ${formatX(point.x)}`),
  ];
}

/** Texts centred at their places, those left out that would touch the one before. */
function tickLine(ticks: readonly { readonly at: number; readonly text: string }[], columns: number): string {
  let line = "";
  for (const { at, text } of ticks) {
    const start = Math.min(columns - text.length, Math.max(0, at - Math.floor(text.length / 2)));
    if (line !== "" && start < line.length + 2) continue;
    line = line.padEnd(start) + text;
  }
  return line;
}
