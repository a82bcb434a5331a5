import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Module } from "@revnet-zero/nn";
import { type HostData, readEnvironment, type Tensor } from "@revnet-zero/tensor";

const script = fileURLToPath(new URL("./oracle.py", import.meta.url));

/** An array as the oracle reads it. Every float32 is exact in JSON's doubles. */
export interface OracleArray {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly data: readonly number[];
}

export const toOracle = (t: Tensor): OracleArray => ({
  shape: t.shape,
  dtype: t.dtype,
  data: Array.from(t.dataSync()),
});

export const parametersOf = (module: Module): Record<string, OracleArray> =>
  Object.fromEntries([...module.namedParameters()].map(([name, p]) => [name, toOracle(p)]));

/** PyTorch in a process of its own. */
export interface Oracle {
  ask<T>(request: object): Promise<T>;
  stop(): void;
}

const help = `python3 -m venv V && V/bin/pip install torch==2.13.0+cpu numpy, then REVNET_PYTHON=V/bin/python npm test`;

/** The oracle, or why there is none and what to do. */
export async function openOracle(): Promise<Oracle | string> {
  const python = readEnvironment("REVNET_PYTHON");
  if (python === "") return `no PyTorch to compare with, REVNET_PYTHON is not set: ${help}`;
  const child = spawn(python, [script], { stdio: ["pipe", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (text) => {
    errors += text;
  });
  const waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = [];
  let ended: Error | undefined;
  const fail = (error: Error): void => {
    ended ??= error;
    for (const { reject } of waiting.splice(0)) reject(ended);
  };
  createInterface({ input: child.stdout }).on("line", (line) => waiting.shift()?.resolve(line));
  child.on("error", fail);
  child.on("close", (code) => fail(new Error(`the oracle ended with exit code ${code}:\n${errors}`)));
  child.stdin.on("error", () => undefined);
  const oracle: Oracle = {
    ask: async <T>(request: object) => {
      if (ended !== undefined) throw ended;
      const line = await new Promise<string>((resolve, reject) => {
        waiting.push({ resolve, reject });
        child.stdin.write(`${JSON.stringify(request)}\n`);
      });
      const answer = JSON.parse(line) as T & { readonly error?: string };
      if (answer.error !== undefined) throw new Error(answer.error);
      return answer;
    },
    stop: () => void child.kill(),
  };
  try {
    await oracle.ask({ do: "version" });
    return oracle;
  } catch (error) {
    // Without the interpreter or PyTorch there is nothing to compare with; an oracle that is broken is a failure.
    const reason = /no torch: .*|spawn .* ENOENT/.exec((error as Error).message)?.[0];
    if (reason === undefined) throw error;
    return `REVNET_PYTHON=${python} has no PyTorch (${reason}): ${help}`;
  }
}

/** ‖found - wanted‖ / ‖wanted‖; the norm of what was found where nothing was wanted. */
export function relativeError(found: HostData | readonly number[], wanted: readonly number[]): number {
  if (found.length !== wanted.length) throw new Error(`${found.length} elements, expected ${wanted.length}`);
  const size = Math.hypot(...wanted);
  const error = Math.hypot(...wanted.map((w, i) => w - found[i]!));
  return size === 0 ? error : error / size;
}
