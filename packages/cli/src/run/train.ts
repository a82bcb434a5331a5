import { IntelligentMemoryScheduler } from "@revnet-zero/memory";
import { formatBytes } from "@revnet-zero/plot";
import { estimateStep, planStep, type Trainer } from "@revnet-zero/train";
import type { CommandOptions } from "../commands.ts";
import { configFor } from "../config/configFor.ts";
import type { ConfigOverride } from "../config/loadConfig.ts";
import { type Output, printLine } from "../output.ts";
import { UsageError } from "../usageError.ts";
import { estimateLines } from "./estimate.ts";
import { openOffload, planLines } from "./plan.ts";
import { prepareReport, writeReport } from "./report.ts";
import { comparePeaks, openEngine, openSession, printResult, runWithProgress } from "./session.ts";

/** The memory scheduler of `--strategy`, through which the trainer's passes run. */
function schedule(
  trainer: Trainer,
  { strategy, budget, offload }: CommandOptions["train"],
): IntelligentMemoryScheduler | undefined {
  if (strategy === undefined) return undefined;
  const { policies } = trainer.model.sequence;
  const scheduler = new IntelligentMemoryScheduler(trainer.model, {
    strategy,
    ...(budget === undefined ? {} : { budget }),
    ...(offload === undefined ? {} : { policies }),
  });
  trainer.schedulePasses((pass) => scheduler.step(pass));
  return scheduler;
}

function scheduledPeak({ lastStep, strategy, budgetBytes }: IntelligentMemoryScheduler, trainer: Trainer): string {
  const last = lastStep === undefined ? "" : `, the last pass ${formatBytes(lastStep.peakBytes)}`;
  const within = Number.isFinite(budgetBytes) ? ` within ${formatBytes(budgetBytes)}` : "";
  return `peak memory: steps ${formatBytes(trainer.peakBytes)}${last}, passes planned by ${strategy}${within}`;
}

export async function train(
  options: CommandOptions["train"],
  overrides: readonly ConfigOverride[],
  output: Output,
): Promise<number> {
  const config = await configFor(options, overrides, output);
  if (config === undefined) return 0;
  if (options.dryRun) {
    for (const line of estimateLines(config, openEngine(options.device).backend)) printLine(output, line);
    printLine(output, "dry run: nothing was trained");
    return 0;
  }
  if (options.offload !== undefined && options.budget === undefined && options.strategy === undefined)
    throw new UsageError("train", "--offload is for plans", "add --budget <size>: the plan decides what is offloaded");
  if (options.report !== undefined) await prepareReport(options.report);
  const { trainer, engine } = await openSession(config, options.resume ? "resume" : "new", options.device);
  const { store, close } = openOffload(options.offload);
  if (store !== undefined) trainer.model.sequence.offload = store;
  const scheduler = schedule(trainer, options);
  if (scheduler === undefined && options.budget !== undefined) {
    const found = planStep(config, engine.backend, { budgetBytes: options.budget, offload: store });
    for (const line of planLines(found, options.budget)) printLine(output, line);
    trainer.model.sequence.plan = found.plan;
  }
  const { plan } = trainer.model.sequence;
  const predicted = estimateStep(config, engine.backend, { plan, offload: store }).peakBytes;
  const result = await runWithProgress(trainer, output).finally(() => {
    scheduler?.[Symbol.dispose]();
    close();
  });
  if (trainer.step >= config.train.steps && result.stepsDone === 0) {
    printLine(output, `nothing to do: ${trainer.step} steps are done; go on with more by --train.steps`);
  }
  printResult(output, result);
  const { whyNoGraph } = trainer;
  if (config.train.graph === true && result.stepsDone > 0 && whyNoGraph !== undefined)
    printLine(output, `the last step was no graph: ${whyNoGraph}`);
  if (trainer.peakBytes > 0)
    printLine(output, scheduler === undefined ? comparePeaks(predicted, trainer) : scheduledPeak(scheduler, trainer));
  const sample = { prompt: "The ", text: await trainer.sample(), note: `step ${trainer.step}, temperature 0.8` };
  printLine(output, `report: ${await writeReport(trainer, result, { sample }, options.report)}`);
  return result.isInterrupted ? 130 : 0;
}
