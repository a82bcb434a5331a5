import { writeFile } from "node:fs/promises";
import { DiskStore, planChart } from "@revnet-zero/memory";
import { formatBytes, formatMs, html, Markup, pageStyle, svgScatterChart, textScatter } from "@revnet-zero/plot";
import { HostOffload, type OffloadStore, offloadTo } from "@revnet-zero/reversible";
import { planStep, type StepPlan } from "@revnet-zero/train";
import type { CommandOptions, OffloadPlace } from "../commands.ts";
import { configFor } from "../config/configFor.ts";
import type { ConfigOverride } from "../config/loadConfig.ts";
import { formatTable, type Output, printLine } from "../output.ts";
import { UsageError } from "../usageError.ts";
import { openEngine } from "./session.ts";

export interface OpenStore {
  readonly store: OffloadStore | undefined;
  close(): void;
}

/** The store that `--offload` names. */
export function openOffload(place: OffloadPlace | undefined): OpenStore {
  if (place !== "disk") {
    return { store: place === undefined ? undefined : new HostOffload(), close: () => {} };
  }
  const disk = new DiskStore();
  return { store: offloadTo(disk), close: () => disk.dispose() };
}

/** What a plan does with every layer, and what it comes to. */
export function planLines(found: StepPlan, budget: number | undefined): string[] {
  const { layers, peakBytes, timeMs, lowerBoundMs } = found;
  const rows = layers.map(({ policy, addedBytes, forwardMs, backwardMs }, i) => [
    String(i),
    policy,
    addedBytes < 0 ? `-${formatBytes(-addedBytes)}` : formatBytes(addedBytes),
    formatMs(forwardMs),
    formatMs(backwardMs),
  ]);
  const within = budget === undefined ? "" : ` of ${formatBytes(budget)}`;
  const gap =
    timeMs > lowerBoundMs * (1 + 1e-9) ? `, at most ${formatMs(timeMs - lowerBoundMs)} more than the best` : "";
  return [
    ...formatTable([["layer", "policy", "adds", "forward", "backward"], ...rows]),
    `peak of a step: ${formatBytes(peakBytes)}${within}, counted by the ledger`,
    `forward and backward: ${formatMs(timeMs)}, by what layers take on this machine${gap}`,
  ];
}

const chartOf = ({ front, baselines, chosen, startBytes }: StepPlan, budgetBytes: number | undefined) =>
  planChart({ plans: front, baselines, chosen, budgetBytes, startBytes });

async function writePlot(path: string, found: StepPlan, budget: number | undefined): Promise<void> {
  const svg = svgScatterChart(chartOf(found, budget));
  await writeFile(path, path.endsWith(".svg") ? svg : pageOf(svg, planLines(found, budget)));
}

function pageOf(svg: string, lines: readonly string[]): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Memory plan</title>
<style>${pageStyle}</style>
</head>
<body>
<header><p class="brand">RevNet-Zero</p>
<h1>Memory plan</h1></header>
<section><figure class="chart">${new Markup(svg)}</figure></section>
<section><h2>Layer by layer</h2>
<p class="lead">adds: live bytes where the layer's forward pass ends, less those where it began.</p>
<pre class="sample">${lines.join("\n")}</pre></section>
</body>
</html>
`.text;
}

function checkPlot(path: string | undefined): void {
  if (path === undefined || /\.(svg|html)$/.test(path)) return;
  throw new UsageError("plan", `--plot is "${path}"`, "name a file that ends in .svg or .html");
}

/** The plan of a configuration, and the chart in the terminal. */
export async function plan(
  options: CommandOptions["plan"],
  overrides: readonly ConfigOverride[],
  output: Output,
): Promise<number> {
  const config = await configFor(options, overrides, output);
  if (config === undefined) return 0;
  checkPlot(options.plot);
  const { budget } = options;
  const { store, close } = openOffload(options.offload);
  try {
    const found = planStep(config, openEngine(options.device).backend, { budgetBytes: budget, offload: store });
    for (const line of planLines(found, budget)) printLine(output, line);
    printLine(output);
    const width = Math.min(120, output.out.columns ?? 80) - 2;
    for (const line of textScatter(chartOf(found, budget), { width })) printLine(output, line);
    if (options.plot !== undefined) {
      await writePlot(options.plot, found, budget);
      printLine(output, `plot: ${options.plot}`);
    }
  } finally {
    close();
  }
  return 0;
}
