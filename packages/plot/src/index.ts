export { type ChartLabel, spreadLabels } from "./chartLabels.ts";
export { type ChartScale, type ChartScaleOptions, chartScale } from "./chartScale.ts";
export { chartStyle } from "./chartStyle.ts";
export { escapeMarkup, html, Markup, type MarkupValue } from "./markup.ts";
export { pageStyle } from "./pageStyle.ts";
export {
  type ChartPoint,
  type ChartSeries,
  type LineChart,
  type ReferenceLine,
  svgLineChart,
} from "./svgLineChart.ts";
export { type NamedPoint, type ScatterChart, svgScatterChart } from "./svgScatterChart.ts";
export { type Band, type StackedChart, type StackedSample, svgStackedChart } from "./svgStackedChart.ts";
export { type TextScatterOptions, textScatter } from "./textScatter.ts";
export * from "./units.ts";
