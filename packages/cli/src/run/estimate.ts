import { formatBytes, groupDigits } from "@revnet-zero/plot";
import type { Backend } from "@revnet-zero/tensor";
import { estimateModes, largestStepThatFits, type TrainConfig } from "@revnet-zero/train";
import type { CommandOptions, VariedSize } from "../commands.ts";
import { configFor } from "../config/configFor.ts";
import type { ConfigOverride } from "../config/loadConfig.ts";
import { formatTable, type Output, printLine } from "../output.ts";
import { UsageError } from "../usageError.ts";
import { openEngine } from "./session.ts";

/** The memory of one training step in every way of keeping activations. */
export function estimateLines(config: TrainConfig, backend: Backend, budget?: number): string[] {
  const estimates = estimateModes(config, backend);
  const chosen = config.model.reversibility;
  // A device's memory also holds what kernels take as they run, and what its allocator keeps.
  const hasDevice = estimates.every((e) => e.device !== undefined);
  const header = ["reversibility", "parameters", "gradients", "optimizer", "activations", "peak"];
  const rows = estimates.map((e) => [
    e.reversibility === chosen ? `${e.reversibility} *` : e.reversibility,
    formatBytes(e.parameterBytes),
    formatBytes(e.gradientBytes),
    formatBytes(e.optimizerBytes),
    formatBytes(e.activationBytes),
    formatBytes(e.peakBytes),
    ...(e.device === undefined ? [] : [formatBytes(e.device.usedBytes), formatBytes(e.device.reservedBytes)]),
  ]);
  const { batchSize, sequenceLength } = config.train;
  const lines = [
    `${groupDigits(estimates[0]!.parameters)} parameters, ${config.model.numLayers} layers, ${batchSize} sequences of ${sequenceLength} bytes (* configured)`,
    ...formatTable([hasDevice ? [...header, "with kernels'", "taken"] : header, ...rows]),
    "activations: the peak less parameters, gradients and optimizer state at that instant",
    ...(hasDevice
      ? ["with kernels': and what kernels need as they run; taken: from the device, without its context"]
      : []),
  ];
  if (budget === undefined) return lines;
  const fitting = estimates.filter((e) => e.peakBytes <= budget).map((e) => e.reversibility);
  const size = formatBytes(budget);
  const verdict = fitting.length === 0 ? `nothing here fits into ${size}` : `into ${size} fit: ${fitting.join(", ")}`;
  return [...lines, verdict];
}

const flagOf: { readonly [K in VariedSize]: string } = {
  batch: "--train.batchSize",
  sequence: "--train.sequenceLength",
  depth: "--model.numLayers",
};

/** How large a batch, sequence or depth may be, with what shows that the next one is too large. */
function largestLines(
  config: TrainConfig,
  backend: Backend,
  options: { readonly vary: VariedSize; readonly budget: number },
): string[] {
  const { vary, budget } = options;
  const { largest, smallestTooLarge, isMonotone } = largestStepThatFits(config, backend, options);
  const size = formatBytes(budget);
  const next =
    smallestTooLarge === undefined
      ? []
      : [`${smallestTooLarge.value} needs ${formatBytes(smallestTooLarge.peakBytes)}`];
  const warning = isMonotone ? [] : ["peaks do not grow steadily here: a larger one may fit too"];
  if (largest === undefined) return [`not even a ${vary} of 1 fits into ${size}`, ...next, ...warning];
  const found = `the largest ${vary} within ${size} is ${largest.value}, which needs ${formatBytes(largest.peakBytes)}: ${flagOf[vary]} ${largest.value}`;
  return [found, ...next, ...warning];
}

export async function estimate(
  options: CommandOptions["estimate"],
  overrides: readonly ConfigOverride[],
  output: Output,
): Promise<number> {
  const config = await configFor(options, overrides, output);
  if (config === undefined) return 0;
  const { budget, largest } = options;
  if (largest !== undefined && budget === undefined)
    throw new UsageError("estimate", `--largest ${largest} needs a budget`, `add --budget <size>, like 8GiB`);
  const { backend } = openEngine(options.device);
  const lines =
    largest === undefined || budget === undefined
      ? estimateLines(config, backend, budget)
      : largestLines(config, backend, { vary: largest, budget });
  for (const line of lines) printLine(output, line);
  return 0;
}
