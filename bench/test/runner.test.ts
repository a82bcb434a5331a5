import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { runBench } from "../src/runBench.ts";
import { Subject } from "../src/subject.ts";
import { formatRows } from "../src/table.ts";

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const node24 = path("../../packages/tooling/bin/node24.mjs");

/** The program as `npm run bench` starts it. */
function bench(...args: string[]): { readonly stdout: string; readonly stderr: string } {
  const argv = [node24, "--expose-gc", path("../src/main.ts"), ...args];
  const { stdout, stderr, status } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  expect(stderr).not.toMatch(/Error/);
  expect(status).toBe(0);
  return { stdout, stderr };
}

const quick = (suite: string, ...options: string[]) =>
  JSON.parse(bench(suite, "--quick", "--json", ...options).stdout) as Record<string, unknown>;

describe("a quick run", { timeout: 120_000 }, () => {
  test("of attention measures every way at every length, and how they compare", () => {
    const { rows, summary } = quick("attention") as {
      rows: Record<string, unknown>[];
      summary: Record<string, unknown>;
    };
    expect(new Set(rows.map((r) => r.mechanism)).size).toBe(9);
    for (const row of rows)
      expect(row).toMatchObject({
        tokens: expect.any(Number),
        timeMs: expect.any(Number),
        forwardMs: expect.any(Number),
        bytesPerToken: expect.any(Number),
      });
    expect(summary).toMatchObject({
      tiledOverUnfused: { 128: expect.any(Number), 256: expect.any(Number) },
      hierarchicalOverTiled: { 128: expect.any(Number), 256: expect.any(Number) },
    });
  });

  test("of long-context has bits per byte of every layer, and shares of needles by distance", () => {
    const { rows, summary } = quick("long-context") as {
      rows: Record<string, unknown>[];
      summary: { bitsPerByte: Record<string, { mean: number }>; recall: Record<string, object>; chance: number };
    };
    expect(Object.keys(summary.bitsPerByte)).toEqual(["dense", "hierarchical", "hierarchical, learned", "window"]);
    for (const { mean } of Object.values(summary.bitsPerByte)) expect(mean).toBeLessThan(8.1);
    expect(Object.keys(summary.recall)).toEqual([
      ...["dense", "hierarchical", "hierarchical, recall", "hierarchical, recall a query"],
    ]);
    const answered = rows.filter((r) => r.task === "needles");
    expect(answered.every((r) => (r.right as number) <= (r.asked as number))).toBe(true);
    expect(summary.chance).toBe(1 / 8);
  });

  test("of exactness prints one JSON object: exact rows equal, float rows not", () => {
    const { suite, rows, summary, host, settings, version } = quick("exactness") as never as {
      [name: string]: unknown;
      rows: Record<string, unknown>[];
    };
    expect({ suite, version, settings, host }).toMatchObject({
      suite: "exactness",
      version: "0.1.0",
      settings: { backend: "cpu", quick: true, depths: [2, 4] },
      host: { name: expect.stringMatching(/^\w+-\w+-\d+core$/) },
    });
    // Two depths of the additive coupling (five modes, two types, with and without dropout) and of nine others.
    expect(rows).toHaveLength(2 * (5 * 4 + 9 * 4));
    expect(new Set(rows.map((row) => row.coupling)).size).toBe(10);
    expect(new Set(rows.map((row) => row.mode))).toEqual(
      new Set(["exact", "exact16", "grid-f32", "lossless", "float"]),
    );
    for (const row of rows) {
      const isExact = row.mode !== "float";
      expect(row).toMatchObject({
        coupling: expect.any(String),
        backend: "cpu",
        blocks: expect.any(Number),
        fDtype: expect.stringMatching(/^(f32|bf16)$/),
        dropout: expect.any(Number),
        reconstructionBitEqual: isExact,
        // What float streams lose may be less than what bfloat16 sees.
        gradientsBitEqual: isExact || (row.fDtype === "bf16" ? expect.any(Boolean) : false),
        reconstructionRelativeError: isExact ? 0 : expect.any(Number),
        gradientRelativeError: isExact ? 0 : expect.any(Number),
        streamBytes: row.mode === "exact16" ? 2 : 4,
        sideBytes: expect.any(Number),
        outputDifference: row.mode === "float" || row.mode === "lossless" ? 0 : expect.any(Number),
      });
    }
    expect(summary).toMatchObject({
      ...{ exactRows: 80, exactRowsBitEqual: 80 },
      ...{ weightsBitEqualAfterSteps: true, weightsBitEqualFromOneCheckpoint: true },
    });
  });

  test("of depth finds the predicted peaks, and activations of exact that do not grow", () => {
    const { rows, summary } = quick("depth") as never as {
      rows: Record<string, number>[];
      summary: Record<string, unknown>;
    };
    expect(rows.map(({ mode, blocks }) => `${mode} ${blocks}`)).toEqual(
      [2, 4].flatMap((b) => ["store", "checkpoint", "reversible-exact", "reversible-float"].map((m) => `${m} ${b}`)),
    );
    for (const { peakBytes, predictedPeakBytes, timeMs, residentBytes } of rows) {
      expect(peakBytes).toBe(predictedPeakBytes);
      expect(timeMs).toBeGreaterThan(0);
      expect(residentBytes).toBeGreaterThan(peakBytes!);
    }
    expect(summary).toMatchObject({ exactActivationGrowth: 0, storedActivationBytesPerBlock: expect.any(Number) });
    expect(summary.storedActivationBytesPerBlock).toBeGreaterThan(2 * 32 * 32 * 4 * 10);
  });

  const libraries = ["tfjs-wasm", "tfjs-cpu", "jax-js", "numpy-ts", "onnxruntime-web"];

  test("of overhead and matmul measures every JavaScript library in the same run", () => {
    const { rows } = quick("overhead", "--peers", libraries.join()) as never as { rows: Record<string, unknown>[] };
    const additions = rows.filter(({ op }) => op === "add");
    expect(additions.map(({ impl }) => impl)).toEqual(["revnet-zero", ...libraries]);
    for (const { elements, timeUs } of additions) {
      expect(elements).toBe(1024);
      expect(timeUs).toBeGreaterThan(0);
    }
    const products = quick("matmul", "--peers", "tfjs-wasm") as never as { rows: Record<string, number>[] };
    expect(products.rows.map(({ impl, m, transA, batch }) => [impl, m, transA, batch])).toEqual([
      ["revnet-zero", 64, false, 1],
      ["tfjs-wasm", 64, false, 1],
      ["revnet-zero", 64, true, 2],
      ["tfjs-wasm", 64, true, 2],
    ]);
    for (const { gflops, shareOfPeak } of products.rows) expect(gflops! * shareOfPeak!).toBeGreaterThan(0);
  });

  test("of ops, kernels and startup has its rows; a fused kernel moves fewer bytes than its parts", () => {
    const shares = quick("ops", "--peers", "none") as never as { rows: Record<string, number>[] };
    expect(shares.rows.map(({ op }) => op)).toEqual([
      "add",
      "mul",
      "exp",
      "tanh",
      "gelu",
      "sum",
      "softmax",
      "layerNorm",
      "cast",
    ]);
    for (const { gbPerSecond, shareOfBandwidth } of shares.rows)
      expect(gbPerSecond! * shareOfBandwidth!).toBeGreaterThan(0);
    const { rows, summary } = quick("kernels") as never as {
      rows: Record<string, unknown>[];
      summary: Record<string, { expectedOfBytes?: number }>;
    };
    expect(rows.filter(({ op }) => op === "attention").map(({ impl }) => impl)).toEqual(["fused", "decomposed"]);
    for (const [name, { expectedOfBytes }] of Object.entries(summary))
      if (name !== "linear") expect(expectedOfBytes, name).toBeGreaterThan(1);
    const startup = quick("startup", "--peers", "jax-js") as never as { rows: Record<string, unknown>[] };
    expect(startup.rows.map(({ impl, firstStep }) => `${impl} ${firstStep}`)).toEqual([
      "revnet-zero training step",
      "revnet-zero product",
      "jax-js product",
    ]);
  });

  test("of step trains every model here and in the libraries that can", () => {
    const { rows, summary } = quick("step", "--peers", "jax-js,tfjs-wasm") as never as {
      rows: Record<string, unknown>[];
      summary: Record<string, Record<string, number>>;
    };
    const gpt = ["ordinary", "stored", "reversible-exact", "jit", "eager"];
    expect(rows.map(({ mode }) => mode)).toEqual([...gpt, ...gpt, "ordinary", "jit", "eager"]);
    expect(summary["gpt-2x256"]!.exactTimeOverStored).toBeGreaterThan(0);
  });

  test("of quality trains every model once a seed", () => {
    const { rows } = quick("quality") as never as { rows: Record<string, number>[] };
    expect(rows).toHaveLength(6);
    for (const { heldOutBitsPerByte } of rows) expect(Math.abs(heldOutBitsPerByte! - 7)).toBeLessThan(1);
  });
});

describe("the runner", () => {
  test.each([
    ["no suite", []],
    ["an unknown suite", ["dept"]],
    ["two suites", ["depth", "exactness"]],
    ["an unknown backend", ["depth", "--backend", "abacus"]],
    ["a backend that the suite cannot measure", ["depth", "--backend", "gpujs"]],
    ["an unknown option", ["depth", "--fast"]],
  ])("says what is wrong: %s", async (_, argv) => {
    let text = "";
    const error = (written: string): void => {
      text += written;
    };
    const output = { out: expect.unreachable, error };
    expect(await runBench(argv, output)).toBe(2);
    expect(text.split("\n")[0]).toMatchSnapshot();
  });

  test("writes rows as a table that people read", () => {
    const rows = [
      { mode: "store", peakBytes: 3 * 2 ** 20, isEqual: true, timeMs: 12.3456 },
      { mode: "exact", peakBytes: 1024, isEqual: false, note: null },
    ];
    expect(formatRows(rows)).toMatchInlineSnapshot(`
      "mode   peakBytes  isEqual  timeMs  note
      store   3.00 MiB  yes       12.35
      exact   1.00 KiB  NO"
    `);
  });
});

describe("a measured process", () => {
  const echo = "process.stdin.on('data', (d) => String(d).trim().split('\\n').forEach((l) => console.log(l)))";

  test("answers in the order it was asked", async () => {
    const subject = new Subject("echo", process.execPath, ["-e", echo]);
    expect(await Promise.all([subject.ask([1]), subject.ask({ two: 2 })])).toEqual([[1], { two: 2 }]);
    subject[Symbol.dispose]();
  });

  test("that ends, or does not speak JSON, or is not there fails what was asked", async () => {
    const ends = new Subject("brief", process.execPath, ["-e", "process.exit(3)"]);
    await expect(ends.ask(1)).rejects.toThrow("brief ended with exit code 3 before it had answered");
    await expect(ends.ask(2)).rejects.toThrow("brief ended");
    const babbles = new Subject("babbler", process.execPath, ["-e", "console.log('well'); setTimeout(() => {}, 1e4)"]);
    await expect(babbles.ask(1)).rejects.toThrow(`babbler answered "well", which is not JSON`);
    babbles[Symbol.dispose]();
    await expect(new Subject("ghost", "/no/such/program", []).ask(1)).rejects.toThrow("ENOENT");
  });
});
