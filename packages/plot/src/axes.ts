import type { ChartScale } from "./chartScale.ts";
import { html, type Markup } from "./markup.ts";

/** Where the values are drawn, in pixels from the upper left corner. */
export interface PlotArea {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Pixels a character takes at most, on average: of the widest usual font, plain and bold. */
export const characterWidth = { plain: 7.4, bold: 8.6 } as const;

/** Pixels that the longest of some texts takes, to a limit. */
export const widest = (texts: readonly string[], width: number, most = 280): number =>
  Math.min(most, Math.max(0, ...texts.map((text) => text.length)) * width);

export const px = (value: number): string => value.toFixed(1);

/** Least and greatest; something to draw axes from where there are no values. */
export function range(values: readonly number[]): [least: number, greatest: number] {
  let [least = 0.1, greatest = 1] = [values[0], values[0]];
  for (const value of values) {
    least = Math.min(least, value);
    greatest = Math.max(greatest, value);
  }
  return [least, greatest];
}

/** Least distance of two texts below an axis. */
const TICK_GAP = 44;

/** Ticks far enough apart for their texts on an axis of that length. */
export function spaced({ ticks, place }: ChartScale, length = 550): number[] {
  const kept: number[] = [];
  const least = TICK_GAP / length;
  for (const tick of ticks) if (kept.length === 0 || place(tick) - place(kept.at(-1)!) > least) kept.push(tick);
  return kept;
}

export function yTick(tick: number, y: number, plot: PlotArea, format: (value: number) => string): Markup {
  return html`<line class="grid" x1="${plot.left}" x2="${plot.right}" y1="${px(y)}" y2="${px(y)}"/>
<text class="tick" x="${plot.left - 10}" y="${px(y + 4)}" text-anchor="end">${format(tick)}</text>
`;
}

export function xTick(tick: number, x: number, plot: PlotArea, format: (value: number) => string): Markup {
  return html`<line class="axis" x1="${px(x)}" x2="${px(x)}" y1="${plot.bottom}" y2="${plot.bottom + 5}"/>
<text class="tick" x="${px(x)}" y="${plot.bottom + 20}" text-anchor="middle">${format(tick)}</text>
`;
}
