import { execFileSync, spawn } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeEach, describe, expect, test } from "vitest";
import { Bench } from "./commandLine.ts";

const local = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
// The launcher says which Node runs TypeScript: signals must reach the command itself.
const node = execFileSync(process.execPath, [local("../../tooling/bin/node24.mjs"), "--print", "process.execPath"], {
  encoding: "utf8",
}).trim();

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly error: string;
}

/** Runs a TypeScript file in a process of its own; `onError` is told all that was written to its error stream so far. */
function start(
  file: string,
  words: readonly string[],
  onError: (written: string, kill: (signal: NodeJS.Signals) => void) => void = () => {},
): Promise<Exit> {
  return new Promise((resolve, reject) => {
    const child = spawn(node, ["--conditions=@revnet-zero/source", local(file), ...words], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    let error = "";
    child.stdout.on("data", (text) => {
      out += text;
    });
    child.stderr.on("data", (text) => {
      error += text;
      onError(error, (signal) => child.kill(signal));
    });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, out, error }));
  });
}

const command = "../src/main.ts";
const signals = ["SIGINT", "SIGTERM"] as const;
// Three processes, each of which compiles the library: many times what it takes, even where others compute.
const options = { timeout: 120_000 };

beforeEach(({ skip }) => skip(process.platform === "win32", "Windows has no signals that a process can catch"));

/** A run with what could go wrong on resuming; its steps do not depend on how many there will be. */
const openBench = (): Promise<Bench> =>
  Bench.open({
    model: { dropout: 0.1 },
    train: { microBatches: 2, evalEvery: 0, checkpointEvery: 0, logEvery: 1 },
    schedule: { name: "constant", warmupSteps: 2 },
  });

describe.for(signals)("%s while training", (signal) => {
  test(
    "saves a checkpoint and ends with 130, and the run that goes on from it is the one never stopped",
    options,
    async () => {
      const bench = await openBench();
      const [config, dir] = [bench.path("config.yaml"), bench.path("run")];
      let isSent = false;
      // More steps than anyone waits for.
      const stopped = await start(command, ["train", config, "--train.steps", "1000000"], (written, kill) => {
        if (isSent || !/^ *3\/1000000 /m.test(written)) return;
        isSent = true;
        kill(signal);
      });
      expect(stopped, stopped.error).toMatchObject({ code: 130, signal: null });
      expect(stopped.error).toContain("\nstopping: saving a checkpoint after this step (again to quit at once)\n");
      const [, step] = /^stopped at step (\d+); go on with --resume\ncheckpoint: .*\nreport: /.exec(
        stopped.out.replace(/^peak memory.*\n/m, ""),
      )!;
      const last = Number(step);
      expect(last).toBeGreaterThanOrEqual(3);
      expect(await readdir(dir)).toEqual(["report.html", `step-${step!.padStart(6, "0")}`]);

      const more = ["train", config, "--train.steps", String(last + 4)];
      const [resumed, whole] = await Promise.all([
        start(command, [...more, "--resume"]),
        start(command, [...more, "--output.dir", bench.path("whole")]),
      ]);
      expect([resumed.code, whole.code], resumed.error + whole.error).toEqual([0, 0]);
      // Nothing is different, so nothing is warned of.
      expect(resumed.error).toMatch(new RegExp(`^ *${last + 1}/${last + 4} `));

      const name = basename(/^checkpoint: (.*)$/m.exec(resumed.out)![1]!);
      for (const file of ["model.safetensors", "optimizer.safetensors", "trainer.json"]) {
        const [found, expected] = [bench.path("run", name, file), bench.path("whole", name, file)];
        expect((await readFile(found)).equals(await readFile(expected)), file).toBe(true);
      }
    },
  );
});

describe.for(signals)("a second %s", (signal) => {
  test("quits at once: nothing is saved, and nothing half saved is left to be resumed", options, async () => {
    const bench = await openBench();
    const words = ["train", bench.path("config.yaml"), "--train.steps", "1000000"];
    const exit = await start("fixtures/interrupted.fixture.ts", [signal, "3/", "stopping: ", ...words]);
    expect(exit, exit.error).toMatchObject({ code: 130, signal: null, out: "" });
    expect(exit.error.match(/^stopping: /gm)).toHaveLength(1);
    expect((await readdir(bench.path("run"))).filter((name) => !name.startsWith("."))).toEqual([]);
    const resumed = await bench.run("train @config.yaml --resume");
    expect(resumed).toMatchObject({ status: 1, error: expect.stringContaining("there is no checkpoint") });
    expect(await readdir(bench.path("run"))).toEqual([]);
    expect(await bench.run("train @config.yaml")).toMatchObject({ status: 0 });
  });
});
