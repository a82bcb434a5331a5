import { parseArgs } from "node:util";
import { type BackendName, backends, isBackendName } from "./backends.ts";
import { suites } from "./suites.ts";

export interface BenchCommand {
  readonly suite: string;
  readonly backend: BackendName;
  readonly peers: readonly string[] | undefined;
  readonly isQuick: boolean;
  readonly isJson: boolean;
  readonly isSaved: boolean;
}

/** A command line that cannot be run; the message is all a user needs. */
export class BenchUsageError extends Error {
  override name = "BenchUsageError";
}

export const usage = `npm run bench -- <suite> [options]

  --backend name     what computes: cpu, or cuda or gpujs in suites that can
  --peers a,b|none   which peers to measure beside it; all by default
  --quick            small sizes, few repeats: to see that it runs
  --json             one JSON object on standard output, everything else on standard error
  --save             also write results/<host>/<suite>.json and .svg`;

/** @throws BenchUsageError that names the wrong word. */
export function parseBenchCommand(argv: readonly string[]): BenchCommand {
  const { values, positionals } = parse(argv);
  const [suite, ...more] = positionals;
  const names = Object.keys(suites).join(", ");
  if (suite === undefined) throw new BenchUsageError(`name a suite: ${names}`);
  if (more.length > 0) throw new BenchUsageError(`one suite at a time, not ${positionals.join(" and ")}`);
  if (!Object.hasOwn(suites, suite)) throw new BenchUsageError(`there is no suite "${suite}"; the suites are ${names}`);
  const { backend } = values;
  if (!isBackendName(backend))
    throw new BenchUsageError(`there is no backend "${backend}"; the backends are ${Object.keys(backends).join(", ")}`);
  const peers = values.peers === "none" ? [] : values.peers?.split(",").filter((name) => name !== "");
  return {
    suite,
    backend,
    peers,
    isQuick: values.quick,
    isJson: values.json,
    isSaved: values.save,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        backend: { type: "string", default: "cpu" },
        peers: { type: "string" },
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        save: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new BenchUsageError((error as Error).message);
  }
}
