import { formatBytes, groupDigits } from "@revnet-zero/plot";
import type { Backend } from "@revnet-zero/tensor";
import { estimateModes, type TrainConfig } from "@revnet-zero/train";
import type { CommandOptions } from "../commands.ts";
import { type ConfigOverride, loadConfig } from "../config/loadConfig.ts";
import { renderConfig } from "../config/renderConfig.ts";
import { formatTable, type Output, printLine } from "../output.ts";
import { openEngine } from "./session.ts";

/** The memory of one training step in every way of keeping activations. */
export function estimateLines(config: TrainConfig, backend: Backend, budget?: number): string[] {
  const estimates = estimateModes(config, backend);
  const chosen = config.model.reversibility;
  const header = ["reversibility", "parameters", "gradients", "optimizer", "activations", "peak"];
  const rows = estimates.map((e) => [
    e.reversibility === chosen ? `${e.reversibility} *` : e.reversibility,
    formatBytes(e.parameterBytes),
    formatBytes(e.gradientBytes),
    formatBytes(e.optimizerBytes),
    formatBytes(e.activationBytes),
    formatBytes(e.peakBytes),
  ]);
  const { batchSize, sequenceLength } = config.train;
  const lines = [
    `${groupDigits(estimates[0]!.parameters)} parameters, ${config.model.numLayers} layers, ${batchSize} sequences of ${sequenceLength} bytes (* configured)`,
    ...formatTable([header, ...rows]),
    "activations: the peak less parameters, gradients and optimizer state at that instant",
  ];
  if (budget === undefined) return lines;
  const fitting = estimates.filter((e) => e.peakBytes <= budget).map((e) => e.reversibility);
  const size = formatBytes(budget);
  const verdict = fitting.length === 0 ? `nothing here fits into ${size}` : `into ${size} fit: ${fitting.join(", ")}`;
  return [...lines, verdict];
}

export async function estimate(
  options: CommandOptions["estimate"],
  overrides: readonly ConfigOverride[],
  output: Output,
): Promise<number> {
  const config = await loadConfig(options.config, overrides);
  if (options.printConfig) output.out.write(renderConfig(config));
  else
    for (const line of estimateLines(config, openEngine(options.device).backend, options.budget))
      printLine(output, line);
  return 0;
}
