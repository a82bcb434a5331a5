import type { PlanItem, PlanProblem } from "./problem.ts";

/**
 * Least time that the items after an item take, where that ended with a choice and with `liveBytes` live:
 * `atRoom - (room - liveBytes) * pricePerByte`.
 */
export interface RestBound {
  readonly atRoom: number;
  readonly room: number;
  readonly pricePerByte: number;
}
export type LowerBound = (item: number, choice: number) => RestBound;

/** The bound of what nothing is known of. */
export const noBound: RestBound = { atRoom: 0, room: 0, pricePerByte: 0 };

export const restMs = (bound: RestBound, liveBytes: number): number =>
  bound.atRoom - (bound.room - liveBytes) * bound.pricePerByte;

/**
 * Lagrangian relaxation: of all peaks, one is heeded (that bytes at the end of item `last` stay below what item `last` and its follower
 * leave of the budget), and its price is put on every byte. For a price p >= 0 no plan that fits takes less than
 * min Σ (time + p · kept) - p · room; the price and the place that say most are searched.
 */
export function lowerBoundOf({ items }: PlanProblem, budget: number): LowerBound {
  const places = [
    ...new Set([1, 2, 4, 8, 16].map((k) => Math.round((items.length * k) / 16) - 1).concat(items.length - 2)),
  ];
  let best: { readonly value: number; readonly bound: LowerBound } = { value: -1, bound: () => noBound };
  for (const last of places) {
    if (last < 0) continue;
    const room = roomAfter(items, last, budget);
    const at = (price: number) => relaxed(items, last, price);
    const valueAt = (price: number): number => Math.min(...at(price)[0]!) - price * room;
    const price = bestPrice(items, valueAt);
    const value = valueAt(price);
    if (value <= best.value) continue;
    const rest = at(price);
    const bound: LowerBound = (item, choice) => ({
      atRoom: rest[item + 1]![choice]!,
      room,
      pricePerByte: item < last ? price : 0,
    });
    best = { value, bound };
  }
  return best.bound;
}

/** No plan that fits has more bytes live at the end of this item. */
function roomAfter(items: readonly PlanItem[], item: number, budget: number): number {
  const least = (table: readonly (readonly number[])[] | undefined): number =>
    Math.min(...(table?.flat() ?? [Number.POSITIVE_INFINITY]));
  const next = items[item + 1];
  const forward = next === undefined ? 0 : least(next.forwardPeakBytes);
  return budget - Math.max(0, least(items[item]!.backwardPeakBytes), forward);
}

/** [item][choice before]: least Σ (time + price · kept) of this item and those after it; bytes after `last` cost nothing. */
function relaxed(items: readonly PlanItem[], last: number, price: number): number[][] {
  const rest: number[][] = new Array(items.length + 1);
  rest[items.length] = items.at(-1)!.choices.map(() => 0);
  for (let i = items.length - 1; i >= 0; i--) {
    const { choices, keptBytes } = items[i]!;
    const before = i === 0 ? 1 : items[i - 1]!.choices.length;
    const row = new Array<number>(before).fill(Number.POSITIVE_INFINITY);
    for (let a = 0; a < before; a++) {
      for (let c = 0; c < choices.length; c++) {
        const { forwardMs, backwardMs } = choices[c]!;
        const bytes = i <= last ? price * keptBytes[a]![c]! : 0;
        row[a] = Math.min(row[a]!, forwardMs + backwardMs + bytes + rest[i + 1]![c]!);
      }
    }
    rest[i] = row;
  }
  return rest;
}

/** The bound is concave in the price: golden-section search over prices from nothing to all that could be saved for a byte. */
function bestPrice(items: readonly PlanItem[], valueAt: (price: number) => number): number {
  const times = items.flatMap(({ choices }) => choices.map((c) => c.forwardMs + c.backwardMs));
  const bytes = items.flatMap(({ keptBytes }) => keptBytes.flat()).filter((b) => b > 0);
  const ratio = (Math.sqrt(5) - 1) / 2;
  let [low, high] = [0, bytes.length === 0 ? 0 : Math.max(...times) / Math.min(...bytes)];
  for (let i = 0; i < 60 && high > low; i++) {
    const [left, right] = [high - ratio * (high - low), low + ratio * (high - low)];
    if (valueAt(left) < valueAt(right)) low = left;
    else high = right;
  }
  return (low + high) / 2;
}
