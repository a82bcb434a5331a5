/** A text beside the chart that belongs to a height in it. */
export interface ChartLabel {
  readonly text: string;
  /** Height it belongs to, in pixels from the top. */
  readonly y: number;
  readonly className: string;
}

/**
 * The labels with a height each to stand at: in the order of the heights they belong to, at least `gap` pixels apart, between `top` and
 * `bottom` as far as there is room, and no farther from their place than needed.
 */
export function spreadLabels<L extends ChartLabel>(
  labels: readonly L[],
  top: number,
  bottom: number,
  gap: number,
): (L & { readonly at: number })[] {
  const spread = labels.map((label) => ({ ...label, at: label.y })).sort((a, b) => a.y - b.y);
  // Down: nothing too near the one above. Then up from the bottom, which pushes back only what went too far.
  spread.forEach((label, i) => {
    label.at = Math.max(label.at, i === 0 ? top : spread[i - 1]!.at + gap);
  });
  for (let i = spread.length - 1; i >= 0; i--) {
    const label = spread[i]!;
    label.at = Math.min(label.at, i === spread.length - 1 ? Math.max(bottom, top + gap * i) : spread[i + 1]!.at - gap);
  }
  return spread;
}
