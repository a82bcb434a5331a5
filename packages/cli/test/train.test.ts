import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { Bench, type Ending } from "./commandLine.ts";

/** What depends on the speed of the machine or the last bits of its sums is replaced by #. */
const steady = (line: string): string =>
  line
    .replace(/ETA .*/, "ETA #")
    .replace(/[\d.]+k?( tok\/s)/, "#$1")
    .replace(/(loss|held-out|grad) [\d.]+/g, "$1 #")
    .replace(/[\d.]+( bits\/byte)/, "#$1");

const progress = ({ error }: Ending): string[] => error.trimEnd().split("\n").map(steady);

/** What the report holds for programs to read. */
async function reportData(path: string): Promise<{ readonly run: Record<string, number>; readonly config: unknown }> {
  const page = await readFile(path, "utf8");
  expect(page).toMatch(/^<!doctype html>/i);
  const [, json = ""] = /<script type="application\/json" id="report-data">(.*?)<\/script>/s.exec(page) ?? [];
  return JSON.parse(json);
}

describe("training", () => {
  test("leaves checkpoints and a report, and prints where they are and that the peak was the one predicted", async () => {
    const bench = await Bench.open();
    const { status, out } = await bench.run("train @config.yaml");
    expect(status).toBe(0);
    expect(out).toMatchInlineSnapshot(`
      "checkpoint: <folder>/run/step-000006
      peak memory: predicted 79.6 KiB, measured 79.6 KiB (equal to the byte)
      report: <folder>/run/report.html
      "
    `);
    const names = Object.keys(await bench.files()).filter((name) => name.startsWith("run/"));
    expect(names).toMatchInlineSnapshot(`
      [
        "run/report.html",
        "run/step-000003/config.json",
        "run/step-000003/manifest.json",
        "run/step-000003/model.safetensors",
        "run/step-000003/optimizer.safetensors",
        "run/step-000003/trainer.json",
        "run/step-000006/config.json",
        "run/step-000006/manifest.json",
        "run/step-000006/model.safetensors",
        "run/step-000006/optimizer.safetensors",
        "run/step-000006/trainer.json",
      ]
    `);
  });

  test("shows its progress in plain lines where there is no terminal", async () => {
    const bench = await Bench.open({ train: { sampleEvery: 6, sampleLength: 1 } });
    const shown = await bench.run("train @config.yaml");
    expect(progress(shown).slice(0, -1)).toMatchInlineSnapshot(`
      [
        "1/6   16%  loss #  # bits/byte  lr 0.0005  grad #  # tok/s  peak 59.6 KiB",
        "2/6   33%  loss #  # bits/byte  lr 0.001  grad #  # tok/s  peak 79.6 KiB  ETA #",
        "4/6   66%  loss #  # bits/byte  held-out #  lr 0.0008682  grad #  # tok/s  peak 79.6 KiB  ETA #",
        "6/6  100%  loss #  # bits/byte  held-out #  lr 0.0002318  grad #  # tok/s  peak 79.6 KiB  ETA #",
      ]
    `);
    expect(progress(shown).at(-1)).toMatch(/^step 6: "The ./);
    for (const cursor of ["\r", "\u001b"]) expect(shown.error + shown.out).not.toContain(cursor);
  });

  test("shows its progress in one line drawn again and again on a terminal, apart from the results", async () => {
    const bench = await Bench.open();
    const { out, error } = await bench.run("train @config.yaml", { isTTY: true });
    expect(error.split("\r\u001b[2K").at(-1)).toMatch(/6\/6 +100%.*\n$/);
    expect(error.split("\n")).toHaveLength(2);
    expect(out).toBe((await (await Bench.open()).run("train @config.yaml")).out);
  });

  test("computes the same files again from the same configuration and text", async () => {
    const bench = await Bench.open({ model: { dropout: 0.1 } });
    await bench.run("train @config.yaml");
    await bench.run("train @config.yaml --output.dir @again");
    const files = await bench.files();
    const saved = Object.keys(files).filter((name) => /^run\/.*(safetensors|trainer\.json)$/.test(name));
    expect(saved).toHaveLength(6);
    for (const name of saved) expect(files[name.replace("run", "again")]).toBe(files[name]);
  });

  test("takes flags over the file, and saves what it took", async () => {
    const bench = await Bench.open();
    const { out } = await bench.run("train @config.yaml --train.steps 2 --model.mlp swiglu --output.dir @other");
    expect(out).toMatch(/^checkpoint: <folder>\/other\/step-000002$/m);
    const config = JSON.parse(await readFile(bench.path("other", "step-000002", "config.json"), "utf8"));
    expect(config).toMatchObject({ train: { steps: 2, batchSize: 2 }, model: { mlp: "swiglu", dModel: 8 } });
  });

  test("writes the report where it is told to, making the folder", async () => {
    const bench = await Bench.open();
    const { status, out } = await bench.run("train @config.yaml --report @reports/today/run.html");
    expect([status, out]).toEqual([0, expect.stringContaining("report: <folder>/reports/today/run.html\n")]);
    const { run, config } = await reportData(bench.path("reports", "today", "run.html"));
    expect(run).toMatchObject({ steps: 6, parameters: 3808 });
    expect(config).toMatchObject({ model: { dModel: 8 }, output: { dir: bench.path("run") } });
    expect(Object.keys(await bench.files())).not.toContain("run/report.html");
  });

  test("of a single step says why its peak is lower than the one predicted", async () => {
    const bench = await Bench.open();
    const { out } = await bench.run("train @config.yaml --train.steps 1 --schedule.warmupSteps 0");
    expect(out.split("\n")[1]).toMatchInlineSnapshot(
      `"peak memory: predicted 79.6 KiB, measured 59.6 KiB (the first step makes the optimizer's state)"`,
    );
  });

  test.for(["exact", "float", "store", "checkpoint"])("measures the peak predicted with %s streams", async (mode) => {
    const bench = await Bench.open({ model: { dropout: 0.1, mlp: "swiglu" }, train: { microBatches: 2 } });
    const { out } = await bench.run(`train @config.yaml --model.reversibility ${mode} --optimizer.name lion`);
    expect(out).toMatch(/^peak memory: predicted ([\d.]+ KiB), measured \1 \(equal to the byte\)$/m);
  });

  test("as graphs is the run without, resumed either way, and says why there are none on the CPU", async () => {
    const settings = { schedule: { name: "constant", warmupSteps: 0 } } as const;
    const [plain, graph] = [await Bench.open(settings), await Bench.open(settings)];
    await plain.run("train @config.yaml");
    const { out, status } = await graph.run("train @config.yaml --graph --train.steps 4");
    expect(status).toBe(0);
    expect(out).toContain("the last step was no graph: the cpu backend has no graphs\n");
    expect(out).toMatch(/^peak memory: predicted ([\d.]+ KiB), measured \1 \(equal to the byte\)$/m);
    const rest = await graph.run("train @config.yaml --resume");
    expect(rest).toMatchObject({ status: 0, error: expect.not.stringContaining("train.graph") });
    const weights = async (bench: Bench): Promise<unknown> =>
      Object.entries(await bench.files()).filter(([name]) => name.startsWith("run/step-000006/model"));
    const found = await weights(graph);
    expect(found).toHaveLength(1);
    expect(found).toEqual(await weights(plain));
  });
});

describe("resuming", () => {
  test("goes on where the run was, and reports the steps of its own", async () => {
    const bench = await Bench.open({ train: { evalEvery: 2 }, schedule: { name: "constant", warmupSteps: 0 } });
    await bench.run("train @config.yaml --train.steps 4");
    const resumed = await bench.run("train @config.yaml --resume");
    expect(resumed).toMatchObject({ status: 0, out: expect.stringContaining("equal to the byte") });
    expect(progress(resumed).map((line) => line.split(" ")[0])).toEqual(["5/6", "6/6"]);
    expect((await reportData(bench.path("run", "report.html"))).run).toMatchObject({ steps: 2 });

    await bench.run("train @config.yaml --output.dir @whole");
    const files = await bench.files();
    for (const name of ["model.safetensors", "optimizer.safetensors", "trainer.json"]) {
      expect(files[`run/step-000006/${name}`]).toBe(files[`whole/step-000006/${name}`]);
    }
  });

  test("warns of what is different from the run it goes on with", async () => {
    const bench = await Bench.open();
    await bench.run("train @config.yaml");
    const resumed = await bench.run("train @config.yaml --resume --train.steps 7 --optimizer.learningRate 0.01");
    expect(resumed.status).toBe(0);
    expect(progress(resumed)[0]).toMatchInlineSnapshot(
      `"warning at step 6: resumed with another configuration, so the run goes on otherwise than it would have: train.steps was 6 and is 7, optimizer.learningRate was 0.001 and is 0.01"`,
    );
  });

  test("a finished run does nothing, and says so", async () => {
    const bench = await Bench.open();
    await bench.run("train @config.yaml");
    const before = await bench.files();
    const { status, out, error } = await bench.run("train @config.yaml --resume");
    expect([status, error]).toEqual([0, ""]);
    expect(out).toMatchInlineSnapshot(`
      "nothing to do: 6 steps are done; go on with more by --train.steps
      checkpoint: <folder>/run/step-000006
      report: <folder>/run/report.html
      "
    `);
    const { "run/report.html": _old, ...rest } = before;
    expect(await bench.files()).toMatchObject(rest);
  });
});

describe("a dry run", () => {
  test("tells the memory of a step and writes nothing", async () => {
    const bench = await Bench.open();
    const before = await bench.files();
    const { status, out, error } = await bench.run("train @config.yaml --dry-run --report @reports/run.html");
    expect([status, error]).toEqual([0, ""]);
    const { out: estimated } = await bench.run("estimate @config.yaml");
    expect(out).toBe(`${estimated}dry run: nothing was trained\n`);
    expect(await bench.files()).toEqual(before);
  });
});
