import { RevNetError } from "@revnet-zero/tensor";
import { type CommandLine, parseCommandLine } from "../args.ts";
import { ConfigError } from "../config/configError.ts";
import { type Output, printLine } from "../output.ts";
import { UsageError } from "../usageError.ts";
import { version } from "../version.ts";
import { check } from "./check.ts";
import { demo } from "./demo.ts";
import { estimate } from "./estimate.ts";
import { info } from "./info.ts";
import { plan } from "./plan.ts";
import { sample } from "./sample.ts";
import { train } from "./train.ts";
import { tune } from "./tune.ts";

/** Runs a command line and gives the exit status: 0, 1 for a failure, 2 for a wrong call, 130 when interrupted. */
export async function run(argv: readonly string[], output: Output): Promise<number> {
  try {
    return await runCommand(parseCommandLine(argv), output);
  } catch (error) {
    // Errors with a hint are for the user; anything else is a defect and keeps its stack.
    if (!(error instanceof RevNetError)) throw error;
    output.error.write(`${error.name}: ${error.message}\n`);
    return error instanceof UsageError || error instanceof ConfigError ? 2 : 1;
  }
}

async function runCommand(line: CommandLine, output: Output): Promise<number> {
  switch (line.kind) {
    case "help":
      output.out.write(line.text);
      return 0;
    case "version":
      printLine(output, version());
      return 0;
    case "run":
      switch (line.command) {
        case "train":
          return train(line.options, line.overrides, output);
        case "sample":
          return sample(line.options, output);
        case "estimate":
          return estimate(line.options, line.overrides, output);
        case "plan":
          return plan(line.options, line.overrides, output);
        case "check":
          return check(line.options, line.overrides, output);
        case "tune":
          return tune(line.options, line.overrides, output);
        case "info":
          return info(line.options, output);
        case "demo":
          return demo(line.options, line.overrides, output);
      }
  }
}
