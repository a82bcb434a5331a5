import { type BenchCommand, BenchUsageError, parseBenchCommand, usage } from "./commandLine.ts";
import { measure } from "./report.ts";
import { saveReport } from "./save.ts";
import { suites } from "./suites.ts";
import { formatRows } from "./table.ts";

export interface BenchOutput {
  readonly out: (text: string) => void;
  readonly error: (text: string) => void;
}

/** The whole program: gives the exit code. */
export async function runBench(argv: readonly string[], { out, error }: BenchOutput): Promise<number> {
  let command: BenchCommand;
  try {
    command = parseBenchCommand(argv);
  } catch (problem) {
    if (!(problem instanceof BenchUsageError)) throw problem;
    error(`bench: ${problem.message}\n\n${usage}\n`);
    return 2;
  }
  const suite = await suites[command.suite]!();
  const { backends = ["cpu"] } = suite;
  if (!backends.includes(command.backend)) {
    error(`bench: ${command.suite} measures ${backends.join(" and ")}, not ${command.backend}\n`);
    return 2;
  }
  const log = (line: string): void => error(`${line}\n`);
  log(`${command.suite}: ${suite.about}`);
  const report = await measure(command.suite, suite, { ...command, log });
  if (command.isJson) out(`${JSON.stringify(report)}\n`);
  else out(`\n${formatRows(report.rows)}\n\n${JSON.stringify(report.summary, undefined, 2)}\n`);
  if (command.isSaved) for (const path of await saveReport(report, suite)) log(`saved ${path}`);
  return 0;
}
