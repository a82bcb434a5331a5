import { runBench } from "./runBench.ts";

process.exitCode = await runBench(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  error: (text) => process.stderr.write(text),
});
