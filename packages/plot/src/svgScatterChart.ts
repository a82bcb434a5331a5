import { characterWidth, px, range, spaced, widest, xTick, yTick } from "./axes.ts";
import { chartScale } from "./chartScale.ts";
import { drawing } from "./drawing.ts";
import { html, type Markup } from "./markup.ts";
import type { ChartPoint } from "./svgLineChart.ts";
import { formatFigure } from "./units.ts";

/** A point with its name beside it. */
export interface NamedPoint extends ChartPoint {
  readonly name: string;
  /** Drawn large and filled: the one that was chosen. */
  readonly isChosen?: boolean;
}

export interface ScatterChart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** Best trade-offs, from left to right: drawn as steps, for nothing between two of them can be had. */
  readonly front: { readonly name: string; readonly points: readonly ChartPoint[] };
  readonly points?: readonly NamedPoint[];
  /** A vertical line (a budget). */
  readonly limit?: { readonly name: string; readonly x: number };
  readonly xBase?: "decimal" | "binary";
  readonly formatX?: (value: number) => string;
  readonly formatY?: (value: number) => string;
  readonly id?: string;
}

const size = { width: 820, height: 420 };

/** Trade-offs of two quantities of which less is better, and named points among them. Light and dark, no script. */
export function svgScatterChart(chart: ScatterChart): string {
  const { title, xLabel, yLabel, front, points = [], limit, formatX = formatFigure, formatY = formatFigure } = chart;
  const all = [...front.points, ...points];
  const formatTick = (format: (value: number) => string) => (value: number) => format(value).replace(/\.0+(?!\d)/, "");
  const xScale = chartScale(...range([...all.map(({ x }) => x), ...(limit === undefined ? [] : [limit.x])]), {
    base: chart.xBase ?? "decimal",
  });
  const yScale = chartScale(...range(all.map(({ y }) => y)));
  const plot = {
    left: 28 + widest(yScale.ticks.map(formatTick(formatY)), characterWidth.plain),
    top: 66,
    right: size.width - 28,
    bottom: size.height - 50,
  };
  const x = (value: number): number => plot.left + xScale.place(value) * (plot.right - plot.left);
  const y = (value: number): number => plot.bottom - yScale.place(value) * (plot.bottom - plot.top);
  const placed = points.map((point) => ({ point, x: x(point.x), y: y(point.y) }));
  const curve = front.points.map(({ x: px, y: py }) => ({ x: x(px), y: y(py) }));
  return drawing(
    { ...size, title, id: chart.id, description: describe(chart, formatX, formatY) },
    html`<text class="axis-label" x="16" y="44">${yLabel}</text>
<text class="axis-label" x="${plot.right}" y="${size.height - 10}" text-anchor="end">${xLabel}</text>
${yScale.ticks.map((tick) => yTick(tick, y(tick), plot, formatTick(formatY)))}
<line class="axis" x1="${plot.left}" x2="${plot.right}" y1="${plot.bottom}" y2="${plot.bottom}"/>
${spaced(xScale).map((tick) => xTick(tick, x(tick), plot, formatTick(formatX)))}
${limit !== undefined && limitLine(`${limit.name} ${formatX(limit.x)}`, x(limit.x), plot)}
<path class="line s1" d="${stairs(curve)}"/>
${curve.map(
  (point, i) =>
    html`<circle class="marker s1" cx="${px(point.x)}" cy="${px(point.y)}" r="3.5"><title>${front.name}: ${formatY(front.points[i]!.y)} at ${formatX(front.points[i]!.x)}</title></circle>`,
)}
${placed.map(({ point, ...at }) => dot(point, at, formatX, formatY))}
${placeNames(placed, curve, plot).map((label) => html`<text class="label note ${label.isChosen ? "s1" : "s2"}" x="${px(label.x)}" y="${px(label.y)}" text-anchor="${label.anchor}">${label.text}</text>`)}
${all.length === 0 && html`<text class="empty" x="${px((plot.left + plot.right) / 2)}" y="${px((plot.top + plot.bottom) / 2)}" text-anchor="middle">no data</text>`}
`,
  );
}

interface Pixel {
  readonly x: number;
  readonly y: number;
}

/** Right, then down: with a budget between two plans one has the left one. */
function stairs(points: readonly Pixel[]): string {
  return points
    .map((p, i) => (i === 0 ? `M${px(p.x)} ${px(p.y)}` : `L${px(p.x)} ${px(points[i - 1]!.y)}L${px(p.x)} ${px(p.y)}`))
    .join("");
}

function dot(point: NamedPoint, at: Pixel, formatX: (v: number) => string, formatY: (v: number) => string): Markup {
  const title = html`<title>${point.name}: ${formatY(point.y)} at ${formatX(point.x)}</title>`;
  return point.isChosen
    ? html`<circle class="chosen" cx="${px(at.x)}" cy="${px(at.y)}" r="7">${title}</circle>`
    : html`<circle class="marker s2" cx="${px(at.x)}" cy="${px(at.y)}" r="4.5">${title}</circle>`;
}

function limitLine(text: string, x: number, plot: { top: number; bottom: number; right: number }): Markup {
  const isLeft = x + text.length * characterWidth.plain + 8 > plot.right;
  return html`<line class="reference" x1="${px(x)}" x2="${px(x)}" y1="${plot.top - 12}" y2="${plot.bottom}"/>
<text class="reference" x="${px(isLeft ? x - 6 : x + 6)}" y="${plot.top - 8}" text-anchor="${isLeft ? "end" : "start"}">${text}</text>`;
}

interface PlacedName extends Pixel {
  readonly text: string;
  readonly anchor: "start" | "end";
  readonly isChosen: boolean;
}

/** Names where they touch neither each other, nor points, nor the borders, as far as there is such a place. */
function placeNames(
  points: readonly (Pixel & { readonly point: NamedPoint })[],
  curve: readonly Pixel[],
  plot: { readonly left: number; readonly right: number; readonly top: number; readonly bottom: number },
): PlacedName[] {
  const height = 15;
  const taken: { left: number; right: number; top: number; bottom: number }[] = points.map((p) => ({
    left: p.x - 6,
    right: p.x + 6,
    top: p.y - 6,
    bottom: p.y + 6,
  }));
  // The stairs: right, then down.
  curve.forEach((p, i) => {
    const next = curve[i + 1] ?? p;
    taken.push({ left: p.x - 4, right: next.x + 4, top: p.y - 4, bottom: p.y + 4 });
    taken.push({
      left: next.x - 4,
      right: next.x + 4,
      top: Math.min(p.y, next.y) - 4,
      bottom: Math.max(p.y, next.y) + 4,
    });
  });
  return points.map(({ point, ...at }) => {
    const width = point.name.length * characterWidth.bold;
    const candidates = [4, -10, 20, -26, 36, -42, 52].flatMap((dy) =>
      (["start", "end"] as const).map((anchor) => {
        const x = anchor === "start" ? at.x + 10 : at.x - 10;
        const left = anchor === "start" ? x : x - width;
        const y = at.y + dy;
        return { x, y, anchor, box: { left, right: left + width, top: y - 12, bottom: y - 12 + height } };
      }),
    );
    const isInside = ({ box }: (typeof candidates)[number]): boolean =>
      box.left >= plot.left && box.right <= plot.right + 20 && box.top >= plot.top - 10 && box.bottom <= plot.bottom;
    const overlaps = ({ box }: (typeof candidates)[number]): number =>
      taken.filter((t) => t.left < box.right && box.left < t.right && t.top < box.bottom && box.top < t.bottom).length;
    const inside = candidates.filter(isInside);
    const best = (inside.length > 0 ? inside : candidates).reduce((a, b) => (overlaps(b) < overlaps(a) ? b : a));
    taken.push(best.box);
    return { text: point.name, x: best.x, y: best.y, anchor: best.anchor, isChosen: point.isChosen === true };
  });
}

/** The chart in words. */
function describe(
  { front, points = [], xLabel, yLabel, limit }: ScatterChart,
  formatX: (value: number) => string,
  formatY: (value: number) => string,
): string {
  const [first, last] = [front.points[0], front.points.at(-1)];
  const course =
    first === undefined || last === undefined
      ? []
      : [
          `${front.name} goes from ${formatY(first.y)} at ${formatX(first.x)} to ${formatY(last.y)} at ${formatX(last.x)}.`,
        ];
  const named = points.map(({ name, x, y }) => `${name} is ${formatY(y)} at ${formatX(x)}.`);
  const bound = limit === undefined ? [] : [`${limit.name} is ${formatX(limit.x)}.`];
  return [`${yLabel} against ${xLabel}.`, ...course, ...named, ...bound].join(" ");
}
