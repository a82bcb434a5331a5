import { estimateStep } from "@revnet-zero/train";
import type { CommandOptions } from "../commands.ts";
import { type ConfigOverride, loadConfig } from "../config/loadConfig.ts";
import { withPrecision } from "../config/precision.ts";
import { renderConfig } from "../config/renderConfig.ts";
import { type Output, printLine } from "../output.ts";
import { estimateLines } from "./estimate.ts";
import { prepareReport, writeReport } from "./report.ts";
import { comparePeaks, openEngine, openSession, printResult, runWithProgress } from "./session.ts";

export async function train(
  options: CommandOptions["train"],
  overrides: readonly ConfigOverride[],
  output: Output,
): Promise<number> {
  const config = await loadConfig(options.config, withPrecision(overrides, options.precision));
  if (options.printConfig) {
    output.out.write(renderConfig(config));
    return 0;
  }
  if (options.dryRun) {
    for (const line of estimateLines(config, openEngine(options.device).backend)) printLine(output, line);
    printLine(output, "dry run: nothing was trained");
    return 0;
  }
  if (options.report !== undefined) await prepareReport(options.report);
  const { trainer, engine } = await openSession(config, options.resume ? "resume" : "new", options.device);
  const predicted = estimateStep(config, engine.backend).peakBytes;
  const result = await runWithProgress(trainer, output);
  if (trainer.step >= config.train.steps && result.stepsDone === 0) {
    printLine(output, `nothing to do: ${trainer.step} steps are done; go on with more by --train.steps`);
  }
  printResult(output, result);
  if (trainer.peakBytes > 0) printLine(output, comparePeaks(predicted, trainer));
  const sample = { prompt: "The ", text: await trainer.sample(), note: `step ${trainer.step}, temperature 0.8` };
  printLine(output, `report: ${await writeReport(trainer, result, { sample }, options.report)}`);
  return result.isInterrupted ? 130 : 0;
}
