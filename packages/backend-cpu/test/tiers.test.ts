import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Engine, ones } from "@revnet-zero/tensor";
import { describe, expect, test, vi } from "vitest";
import { CpuBackend, tierNames } from "../src/index.ts";
import { Heap } from "../src/wasm/device/heap.ts";
import { Pool } from "../src/wasm/device/pool.ts";
import type { Module } from "../src/wasm/webAssembly.ts";

const node24 = fileURLToPath(new URL("../../tooling/bin/node24.mjs", import.meta.url));

describe("the tier", () => {
  test("is the best that runs here, with the reason; each can be asked for, or says why not", () => {
    const { tier, tierReason } = new CpuBackend();
    expect(tierNames).toContain(tier);
    expect(tierReason).not.toBe("");
    for (const name of tierNames) {
      try {
        expect(new CpuBackend({ tier: name })).toMatchObject({ tier: name, tierReason: "asked for" });
      } catch (error) {
        expect((error as Error).message).toMatch(new RegExp(`^tier "${name}" cannot run here: `));
      }
    }
  });

  test("and the threads come from the environment, where nonsense is refused", () => {
    vi.stubEnv("REVNET_TIER", "scalar");
    vi.stubEnv("REVNET_THREADS", "1");
    expect(new CpuBackend()).toMatchObject({ tier: "scalar", threads: 1 });
    vi.stubEnv("REVNET_TIER", "quantum");
    expect(() => new CpuBackend()).toThrowErrorMatchingInlineSnapshot(`
      [BackendError: cpu: REVNET_TIER is "quantum"
        hint: use one of wide, relaxed, simd, scalar, or leave it empty]
    `);
    vi.stubEnv("REVNET_TIER", "");
    vi.stubEnv("REVNET_THREADS", "0");
    expect(() => new CpuBackend()).toThrowErrorMatchingInlineSnapshot(`
      [BackendError: cpu: REVNET_THREADS is "0"
        hint: use a whole number of threads, 1 or more]
    `);
    vi.unstubAllEnvs();
  });

  test("decides how sums are rounded, and says so", () => {
    const said = (tier: (typeof tierNames)[number]): string => new CpuBackend({ tier }).arithmetic;
    expect(said("simd")).toBe("float32 in fixed order, multiply-add rounded twice");
    expect(said("scalar")).toBe("float64 sums in ascending order, rounded once");
  });
});

describe("threads", () => {
  const program = `
    import { CpuBackend } from "@revnet-zero/backend-cpu";
    import { Engine, ones } from "@revnet-zero/tensor";
    const engine = new Engine(new CpuBackend({ threads: 3 }));
    const x = ones([400, 400], { engine });
    console.log(x.matmul(x).sum().itemSync());
  `;

  test("do not keep a process that is done", () => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [node24, "--input-type=module", "-e", program], {
      encoding: "utf8",
      cwd: fileURLToPath(new URL("..", import.meta.url)),
      timeout: 20_000,
    });
    expect({ stdout, stderr, status }).toEqual({ stdout: "64000000\n", stderr: "", status: 0 });
  });

  test("that cannot start are an error, not an endless wait", async () => {
    const heap = new Heap({ reservedBytes: 4096 });
    const broken = [{}] as unknown as readonly Module[];
    const pool = new Pool({
      heap,
      threads: 2,
      scratchStart: 2048,
      scratchBytes: 64,
      modules: () => broken,
      startMs: 300,
    });
    let units = 0;
    const run = (): void =>
      pool.run(0, { units: 4, share: 2, part: 1 }, [], (from, to) => {
        units += to - from;
      });
    expect(run).toThrow(/^1 of 1 worker threads did not start within 0.3 s: run with REVNET_THREADS=1$/);
    expect(units).toBe(4);
    // What ended it is known once it has, and this thread lets events in.
    const reason = /REVNET_THREADS=1 \(WebAssembly.Instance\(\): Argument 0 must be a WebAssembly.Module\)$/;
    await vi.waitFor(() => expect(run).toThrow(reason), { timeout: 20_000, interval: 50 });
  });

  test("wake up again after they slept", async () => {
    const engine = new Engine(new CpuBackend({ threads: 2 }));
    const x = ones([300, 300], { engine });
    const product = (): number => engine.scope(() => x.matmul(x).sum().itemSync());
    for (let i = 0; i < 3; i++) {
      expect(product()).toBe(300 ** 3);
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
  });
});
