import { characterWidth, px, range, spaced, widest, xTick, yTick } from "./axes.ts";
import { spreadLabels } from "./chartLabels.ts";
import { chartScale } from "./chartScale.ts";
import { drawing } from "./drawing.ts";
import { html, type Markup } from "./markup.ts";
import { formatFigure } from "./units.ts";

export interface ChartPoint {
  readonly x: number;
  readonly y: number;
}

export interface ChartSeries {
  readonly name: string;
  /** From left to right. Where a value is not finite (or not above 0 on a log axis) the line is interrupted. */
  readonly points: readonly ChartPoint[];
  /** Which of the six colours; by default the place in the list. */
  readonly color?: 1 | 2 | 3 | 4 | 5 | 6;
  /** A thin pale line without markers or label: what lies behind a smoothed one. */
  readonly isFaint?: boolean;
}

/** A horizontal line to compare with. */
export interface ReferenceLine {
  readonly name: string;
  readonly y: number;
}

export interface LineChart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly ChartSeries[];
  readonly referenceLines?: readonly ReferenceLine[];
  readonly xLog?: boolean;
  readonly yLog?: boolean;
  /** Ticks at round decimal numbers (default) or at powers of two, for bytes. */
  readonly yBase?: "decimal" | "binary";
  /** The least value that the vertical axis shows at any rate, usually 0. */
  readonly yFrom?: number;
  readonly formatX?: (value: number) => string;
  readonly formatY?: (value: number) => string;
  /** Unique in the page; by default made of the title. */
  readonly id?: string;
  /** In the SVG's own units, which its texts are 13 of high. Default 820 x 400. */
  readonly size?: { readonly width: number; readonly height: number };
  /** Only the plot and its axes, for a page that has title and legend around it. */
  readonly isBare?: boolean;
}

const usualSize = { width: 820, height: 400 };
const margins = {
  framed: { top: 62, left: 28, right: 28, bottom: 50, label: 16, foot: 10 },
  bare: { top: 28, left: 14, right: 12, bottom: 44, label: 4, foot: 4 },
};
const labelGap = 17;
/** Of the width, for names at the ends of lines. */
const mostForLabels = 0.45;
const COLOURS = 6;
/** More points than this on one line are drawn as the extremes of each column of pixels. */
const columns = 400;
const mostMarkers = 24;

/**
 * A line chart as one SVG element: no script, no external file, light and dark, the lines named at their ends, a title and a description for
 * those who hear it. Stands alone as a file too.
 */
export function svgLineChart(chart: LineChart): string {
  const { title, xLabel, yLabel, xLog = false, yLog = false, formatX = formatFigure, formatY = formatFigure } = chart;
  const { size = usualSize, isBare = false } = chart;
  const margin = margins[isBare ? "bare" : "framed"];
  const isPlaced = ({ x, y }: ChartPoint): boolean =>
    Number.isFinite(x) && Number.isFinite(y) && !(xLog && x <= 0) && !(yLog && y <= 0);
  // A tick is a round number: 64 MiB, not 64.0.
  const formatTick = (value: number): string => formatY(value).replace(/\.0+(?!\d)/, "");
  const references = (chart.referenceLines ?? []).filter(({ y }) => isPlaced({ x: 1, y }));
  const placed = chart.series.flatMap(({ points }) => points.filter(isPlaced));
  const [xs, ys] = [placed.map(({ x }) => x), [...placed, ...references].map(({ y }) => y)];
  if (chart.yFrom !== undefined && placed.length > 0) ys.push(chart.yFrom);
  const xScale = chartScale(...range(xs), { isLog: xLog });
  const yScale = chartScale(...range(ys), { isLog: yLog, base: chart.yBase ?? "decimal" });

  const ends = chart.series.flatMap((series, i) => {
    const end = series.points.findLast(isPlaced);
    if (end === undefined || series.isFaint || isBare) return [];
    return [{ text: `${series.name} ${formatY(end.y)}`, value: end.y, className: colourOf(series, i) }];
  });
  const named = isBare ? [] : references;
  const lines = named.map(({ name, y }) => ({ text: `${name} ${formatY(y)}`, value: y, className: "reference" }));
  const textsOf = (labels: readonly { readonly text: string }[]): string[] => labels.map(({ text }) => text);
  const most = mostForLabels * size.width;
  const labelWidth = Math.max(
    widest(textsOf(ends), characterWidth.bold, most),
    widest(textsOf(lines), characterWidth.plain, most),
  );
  const plot = {
    left: margin.left + widest(yScale.ticks.map(formatTick), characterWidth.plain),
    top: margin.top,
    right: size.width - margin.right - labelWidth,
    bottom: size.height - margin.bottom,
  };
  const at = ({ x, y }: ChartPoint): [number, number] => [
    plot.left + xScale.place(x) * (plot.right - plot.left),
    plot.bottom - yScale.place(y) * (plot.bottom - plot.top),
  ];
  const height = (y: number): number => at({ x: xScale.ticks[0] ?? 0, y })[1];
  const labels = spreadLabels(
    [...ends, ...lines].map((label) => ({ ...label, y: height(label.value) })),
    plot.top,
    plot.bottom - 4,
    labelGap,
  );
  const about = { ...size, isBare, title, id: chart.id, description: describe(chart, isPlaced, formatX, formatY) };
  return drawing(
    about,
    html`<text class="axis-label" x="${margin.label}" y="${plot.top - 18}">${yLabel}</text>
<text class="axis-label" x="${plot.right}" y="${size.height - margin.foot}" text-anchor="end">${xLabel}</text>
${yScale.ticks.map((tick) => yTick(tick, height(tick), plot, formatTick))}
${spaced(xScale, plot.right - plot.left).map((tick) => xTick(tick, at({ x: tick, y: yScale.ticks[0] ?? 0 })[0], plot, formatX))}
<line class="axis" x1="${plot.left}" x2="${plot.right}" y1="${plot.bottom}" y2="${plot.bottom}"/>
${references.map(({ y }) => html`<line class="reference" x1="${plot.left}" x2="${plot.right}" y1="${px(height(y))}" y2="${px(height(y))}"/>`)}
${chart.series.map((series, i) => seriesMarkup(series, colourOf(series, i), isPlaced, at, formatX, formatY))}
${labels.map(
  (
    label,
  ) => html`<path class="leader ${label.className}" d="M${px(plot.right + 2)} ${px(label.y)}L${px(plot.right + 10)} ${px(label.at)}"/>
<text class="label ${label.className}" x="${px(plot.right + 14)}" y="${px(label.at + 4)}">${label.text}</text>`,
)}
${placed.length === 0 && html`<text class="empty" x="${px((plot.left + plot.right) / 2)}" y="${px((plot.top + plot.bottom) / 2)}" text-anchor="middle">no data</text>`}
`,
  );
}

const colourOf = ({ color }: ChartSeries, place: number): string => `s${color ?? (place % COLOURS) + 1}`;

type Place = (point: ChartPoint) => [number, number];

function seriesMarkup(
  { name, points, isFaint = false }: ChartSeries,
  className: string,
  isPlaced: (point: ChartPoint) => boolean,
  at: Place,
  formatX: (value: number) => string,
  formatY: (value: number) => string,
): Markup {
  const drawn = thin(points, isPlaced);
  let path = "";
  let isDrawing = false;
  for (const point of drawn) {
    if (!isPlaced(point)) {
      isDrawing = false;
      continue;
    }
    const [x, y] = at(point);
    path += `${isDrawing ? "L" : "M"}${px(x)} ${px(y)}`;
    isDrawing = true;
  }
  const marked = isFaint || drawn.length > mostMarkers ? [] : drawn.filter(isPlaced);
  const markers = marked.map((point) => {
    const [x, y] = at(point);
    return html`<circle class="marker ${className}" cx="${px(x)}" cy="${px(y)}" r="4"><title>${name}: ${formatY(point.y)} at ${formatX(point.x)}</title></circle>`;
  });
  return html`<path class="line ${className}${isFaint ? " faint" : ""}" d="${path}"/>${markers}`;
}

/** At most four points a column: first, least, greatest, last, so that no peak is lost. */
function thin(points: readonly ChartPoint[], isPlaced: (point: ChartPoint) => boolean): readonly ChartPoint[] {
  if (points.length <= columns * 4) return points;
  const kept: ChartPoint[] = [];
  for (let column = 0; column < columns; column++) {
    const start = Math.floor((column * points.length) / columns);
    const bucket = points.slice(start, Math.floor(((column + 1) * points.length) / columns));
    const placed = bucket.filter(isPlaced);
    if (placed.length === 0) {
      kept.push(...bucket.slice(0, 1));
      continue;
    }
    const least = placed.reduce((a, b) => (b.y < a.y ? b : a));
    const greatest = placed.reduce((a, b) => (b.y > a.y ? b : a));
    const chosen = new Set([placed[0]!, least, greatest, placed.at(-1)!]);
    kept.push(...placed.filter((point) => chosen.has(point)));
  }
  return kept;
}

/** The chart in words. */
function describe(
  { series, referenceLines = [], xLabel, yLabel }: LineChart,
  isPlaced: (point: ChartPoint) => boolean,
  formatX: (value: number) => string,
  formatY: (value: number) => string,
): string {
  const lines = series.flatMap(({ name, points, isFaint }) => {
    const [first, last] = [points.find(isPlaced), points.findLast(isPlaced)];
    if (first === undefined || last === undefined || isFaint) return [];
    return [
      `${name} goes from ${formatY(first.y)} at ${formatX(first.x)} to ${formatY(last.y)} at ${formatX(last.x)}.`,
    ];
  });
  const references = referenceLines.map(({ name, y }) => `For comparison, ${name} is ${formatY(y)}.`);
  return [`Line chart of ${yLabel} against ${xLabel}.`, ...lines, ...references].join(" ");
}
