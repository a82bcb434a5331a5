import { type ChartSeries, type LineChart, type ReferenceLine, svgLineChart } from "@revnet-zero/plot";
import { calmly, element } from "./dom.ts";

/** A line chart that is drawn again as its data come and as its place changes size; its legend has the latest values. */
export class LiveChart {
  readonly #plot: HTMLElement = element("div", { className: "plot" });
  readonly #legend: HTMLElement = element("ul", { className: "legend" });
  readonly #height: number;
  #chart: LineChart;
  readonly #draw = calmly<LineChart>((chart) => this.#render(chart));

  constructor(root: HTMLElement, chart: LineChart, height: number) {
    this.#chart = chart;
    this.#height = height;
    root.replaceChildren(this.#legend, this.#plot);
    new ResizeObserver(() => this.#draw(this.#chart)).observe(this.#plot);
    this.#render(chart);
  }

  show(changes: Partial<LineChart>): void {
    this.#chart = { ...this.#chart, ...changes };
    this.#draw(this.#chart);
  }

  #render(chart: LineChart): void {
    const width = Math.max(240, Math.round(this.#plot.clientWidth));
    if (chart.series.every(({ points }) => points.length === 0)) {
      const waiting = element("p", { className: "waiting", textContent: `${chart.title}: press Run` });
      waiting.style.height = `${this.#height}px`;
      this.#plot.replaceChildren(waiting);
    } else this.#plot.innerHTML = svgLineChart({ ...chart, isBare: true, size: { width, height: this.#height } });
    const format = chart.formatY ?? String;
    const items = chart.series
      .map((series, i) => ({ series, color: series.color ?? (i % 4) + 1 }))
      .filter(({ series }) => series.isFaint !== true)
      .map(({ series, color }) => legendItem(`s${color}`, series.name, lastOf(series), format));
    const references = (chart.referenceLines ?? []).map((line: ReferenceLine) =>
      legendItem("reference", line.name, line.y, format),
    );
    this.#legend.replaceChildren(...items, ...references);
  }
}

const lastOf = ({ points }: ChartSeries): number | undefined => points.findLast(({ y }) => Number.isFinite(y))?.y;

function legendItem(
  className: string,
  name: string,
  value: number | undefined,
  format: (value: number) => string,
): HTMLElement {
  const swatch = element("span", { className: `swatch ${className}` });
  return element("li", {}, swatch, `${name} `, element("b", { textContent: value === undefined ? "" : format(value) }));
}
