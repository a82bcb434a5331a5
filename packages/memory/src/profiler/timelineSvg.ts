import { type Band, formatBytes, formatMs, svgStackedChart } from "@revnet-zero/plot";
import { categories } from "@revnet-zero/tensor";
import type { MemoryProfile } from "./memoryProfile.ts";
import type { Change, StepPhase } from "./recording.ts";

/** What lasts lies below, what comes and goes above it. */
const layers = ["parameters", "optimizer", "gradients", "streams", "saved", "workspace"] as const;
const places = layers.map((name) => categories.indexOf(name));

export function timelineSvg(
  { recording }: MemoryProfile,
  { title = "Memory of a training step", budget }: { readonly title?: string; readonly budget?: number },
): string {
  return svgStackedChart({
    title,
    xLabel: "time in the step",
    yLabel: "live bytes, by purpose",
    layers,
    samples: recording.changes.map(({ timeMs, bytes }) => ({ x: timeMs, values: places.map((i) => bytes[i]!) })),
    bands: bandsOf(recording.changes),
    ...(budget === undefined ? {} : { referenceLines: [{ name: "budget", y: budget }] }),
    yBase: "binary",
    formatX: formatMs,
    formatY: formatBytes,
  });
}

/** Stretches of one phase; what is computed again belongs to the backward pass around it. */
function bandsOf(changes: readonly Change[]): Band[] {
  const nameOf = (phase: StepPhase): string => (phase === "recompute" ? "backward" : phase);
  const bands: { name: string; from: number; to: number }[] = [];
  for (const { phase, timeMs } of changes) {
    const last = bands.at(-1);
    if (last?.name === nameOf(phase)) last.to = timeMs;
    else {
      if (last !== undefined) last.to = timeMs;
      bands.push({ name: nameOf(phase), from: timeMs, to: timeMs });
    }
  }
  return bands;
}
