import { readFileSync } from "node:fs";
import { deviceNameOf } from "./backends.ts";
import { describeHost, type Host } from "./host.ts";
import type { BenchContext, Suite, SuiteResult } from "./suite.ts";

/** What `--json` prints. */
export interface Report extends SuiteResult {
  readonly suite: string;
  readonly version: string;
  readonly host: Host;
}

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

export async function measure(name: string, suite: Suite, context: BenchContext): Promise<Report> {
  const { settings, rows, summary } = await suite.run(context);
  const { backend, isQuick } = context;
  return {
    suite: name,
    version,
    host: describeHost(deviceNameOf(backend)),
    settings: { backend, quick: isQuick, ...settings },
    rows,
    summary,
  };
}
