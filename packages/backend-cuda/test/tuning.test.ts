import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { Engine, randomKey, randomNormal } from "@revnet-zero/tensor";
import { opContract } from "@revnet-zero/testkit";
import { afterAll, describe, expect, test } from "vitest";
import { KernelChoices, keyOf } from "../src/choice/kernelChoices.ts";
import { TuningTable } from "../src/choice/tuningTable.ts";
import { useStandIn } from "../src/testing/standIn.ts";

const reason = useStandIn();
const cache = mkdtempSync(join(tmpdir(), "revnet-tuning-"));
afterAll(() => rmSync(cache, { recursive: true }));
const key = { device: "a device", target: "sm_00", driverVersion: 13000 };

describe("the choice of a kernel", () => {
  const entry = (kernel: string) => ({ kernel, timeMs: 1, firstMs: 2 });
  const never = (): undefined => undefined;

  test("is the first, or what the table names among those that take the problem", () => {
    const choices = new KernelChoices({ [keyOf("op", "p")]: entry("b"), [keyOf("op", "q")]: entry("gone") });
    expect(choices.choose("op", "p", ["a", "b"], never)).toBe("b");
    expect(choices.choose("op", "q", ["a", "b"], never)).toBe("a");
    expect(choices.choose("op", "r", ["a", "b"], never)).toBe("a");
    expect(choices.choose("other", "p", ["a", "b"], never)).toBe("a");
    expect(choices.made.map(({ chosen }) => chosen)).toEqual(["b", "a", "a", "a"]);
  });

  test("a table is read once, written whole, added to, and of one device, driver and text of kernels", () => {
    process.env.REVNET_CUDA_CACHE = cache;
    const table = new TuningTable(key);
    expect([table.entries, table.hash]).toEqual([{}, ""]);
    expect(table.write({ p: entry("b") })).toBe(table.path);
    expect(table.entries).toEqual({});
    table.write({ q: entry("a") });
    const again = new TuningTable(key);
    expect(again.entries).toEqual({ p: entry("b"), q: entry("a") });
    expect(again.hash).toMatch(/^[0-9a-f]{8}$/);
    expect(new TuningTable({ ...key, driverVersion: 12000 }).entries).toEqual({});
    expect(readdirSync(join(cache, "tuned"))).toHaveLength(1);
    writeFileSync(again.path, "{ half");
    expect(new TuningTable(key).entries).toEqual({});
  });
});

if (reason === undefined) {
  // With the stand-in of cuBLASLt beside the others.
  const libraries = process.env.REVNET_CUDA_LIBRARIES!;
  process.env.REVNET_CUDA_LIBRARIES = `${libraries}:${join(libraries, "products")}`;
  const { CudaBackend } = await import("../src/index.ts");
  const backend = new CudaBackend();

  opContract({
    backend: () => backend,
    reference: () => new ReferenceBackend(),
    dtypes: ["f32", "bf16", "f16"],
    only: ["matmul", "linear"],
  });

  test("tuning times what was met, writes what is faster, and changes nothing in this process", () => {
    process.env.REVNET_CUDA_CACHE = cache;
    const engine = new Engine(backend);
    const product = (): Float32Array =>
      engine.scope(() => {
        const [a, b] = [3, 4].map((seed) => randomNormal([9, 9], { key: randomKey(seed), engine }));
        return a!.matmul(b!).dataSync() as Float32Array;
      });
    const before = product();
    const lines: string[] = [];
    const report = backend.tune((line) => lines.push(line));
    expect(report.problems).toBeGreaterThan(0);
    expect(report.changed).toBe(lines.length);
    expect(report.bestMs).toBeLessThanOrEqual(report.firstMs);
    const { entries } = JSON.parse(readFileSync(report.path, "utf8")) as {
      entries: Record<string, { kernel: string }>;
    };
    expect(Object.keys(entries).length).toBe(report.problems);
    // The third kernel of the stand-in refuses.
    for (const { kernel } of Object.values(entries)) expect(kernel).toMatch(/^cuBLASLt [01]$/);
    expect(product()).toEqual(before);
    expect(backend.memory().liveBlocks).toBe(0);
  });
} else {
  test("tuning on the stand-in driver", (context) => context.skip(reason));
}
