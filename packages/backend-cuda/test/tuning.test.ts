import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { Engine, ops, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { opContract } from "@revnet-zero/testkit";
import { afterAll, describe, expect, test } from "vitest";
import { KernelChoices, keyOf } from "../src/choice/kernelChoices.ts";
import { shippable, type TuningEntries, TuningTable } from "../src/choice/tuningTable.ts";
import { nativeFolder } from "../src/device/addon.ts";
import { tryEveryKernel } from "../src/testing/linearActivationBackward.ts";
import { standInCache, standInTargets, useStandIn } from "../src/testing/standIn.ts";

const reason = useStandIn();
const cache = mkdtempSync(join(tmpdir(), "revnet-tuning-"));
afterAll(() => rmSync(cache, { recursive: true }));
const key = { device: "a device", target: "sm_00", driverVersion: 13000 };

describe("the choice of a kernel", () => {
  const entry = (kernel: string) => ({ kernel, timeMs: 1, firstMs: 2 });
  const shipped = join(nativeFolder(), "tuned");

  test.each(readdirSync(shipped))(
    "what ships in %s serves where nothing was measured, and gives way to what was",
    (file) => {
      process.env.REVNET_CUDA_CACHE = join(cache, file);
      const { device, entries } = JSON.parse(readFileSync(join(shipped, file), "utf8")) as {
        readonly device: string;
        readonly entries: TuningEntries;
      };
      const table = new TuningTable({ ...key, device });
      expect(table.entries).toEqual(entries);
      expect(table.hash).toMatch(/^[0-9a-f]{8}$/);
      for (const [problem, { kernel, timeMs, firstMs }] of Object.entries(entries)) {
        // Which proposal of a library it is means something for the version alone that was measured.
        expect(problem).toMatch(
          /^(matmul|linearActivationBackward|attention|attentionBackward) .*(cuBLASLt|cuDNN) \d+/,
        );
        expect(kernel).toMatch(/^(cuBLASLt \d(, derivative in it)?|cuDNN( \d)?|product and pass|hopper|tiles)$/);
        expect(timeMs).toBeLessThan(firstMs);
      }
      const [problem] = Object.keys(entries);
      table.write({ [problem!]: entry("measured") });
      expect(new TuningTable({ ...key, device }).entries).toEqual({ ...entries, [problem!]: entry("measured") });
      expect(Object.keys(JSON.parse(readFileSync(table.path, "utf8")).entries)).toEqual([problem]);
    },
  );

  const never = (): undefined => undefined;

  test("is the first, or what the table names among those that take the problem", () => {
    const choices = new KernelChoices({ [keyOf("op", "p")]: entry("b"), [keyOf("op", "q")]: entry("gone") });
    expect(choices.choose("op", "p", ["a", "b"], never)).toBe("b");
    expect(choices.choose("op", "q", ["a", "b"], never)).toBe("a");
    expect(choices.choose("op", "r", ["a", "b"], never)).toBe("a");
    expect(choices.choose("other", "p", ["a", "b"], never)).toBe("a");
    expect(choices.made.map(({ chosen }) => chosen)).toEqual(["b", "a", "a", "a"]);
  });

  test("what a function asks for is told, also where the caller keeps what it chose before", () => {
    const choices = new KernelChoices({});
    const asked = (f: () => void): string[] => choices.askedBy(f).map(({ op, problem }) => `${op} ${problem}`);
    choices.choose("op", "before", ["a"], never);
    expect(
      asked(() => {
        choices.choose("op", "p", ["a"], never);
        choices.choose("op", "p", ["a"], never);
        choices.chosenAgain("op", "before");
      }),
    ).toEqual(["op p", "op p", "op before"]);
    choices.chosenAgain("op", "p");
    expect(asked(() => undefined)).toEqual([]);
  });

  test("a table is read once, written whole, added to, and of one device, driver and text of kernels", () => {
    const folder = join(cache, "of a device");
    process.env.REVNET_CUDA_CACHE = folder;
    const table = new TuningTable(key);
    expect([table.entries, table.hash]).toEqual([{}, ""]);
    expect(table.summary).toBe("none measured here: revnet-zero tune makes a table");
    expect(table.write({ "matmul p": entry("b") })).toBe(table.path);
    expect(table.entries).toEqual({});
    const others = { "matmul q": entry("a"), "attention p": entry("c") };
    table.write(others);
    const again = new TuningTable(key);
    expect(again.entries).toEqual({ "matmul p": entry("b"), ...others });
    expect(again.hash).toMatch(/^[0-9a-f]{8}$/);
    expect(again.summary).toBe(
      `3 problems (2 of matmul, 1 of attention), 3 of them by another kernel than the first, in ${table.path}`,
    );
    expect(new TuningTable({ ...key, driverVersion: 12000 }).entries).toEqual({});
    expect(JSON.parse(shippable(key, again.path))).toEqual({ device: key.device, entries: again.entries });
    again.write({ "matmul r": { kernel: "first", timeMs: 2, firstMs: 2 } });
    expect(JSON.parse(shippable(key, again.path))).toEqual({ device: key.device, entries: again.entries });
    expect(readdirSync(join(folder, "tuned"))).toHaveLength(1);
    writeFileSync(again.path, "{ half");
    expect(new TuningTable(key).entries).toEqual({});
  });
});

if (reason === undefined) {
  // With the stand-in of cuBLASLt beside the others; a table of its own, and the kernels that other tests have compiled.
  const libraries = process.env.REVNET_CUDA_LIBRARIES!;
  process.env.REVNET_CUDA_LIBRARIES = `${libraries}:${join(libraries, "products")}`;
  const compiled = join(standInCache(), standInTargets.running);
  mkdirSync(compiled, { recursive: true });
  symlinkSync(compiled, join(cache, standInTargets.running));
  process.env.REVNET_CUDA_CACHE = cache;
  const derivative = "bf16 gelu 70x24x40 with sums in f32, cuBLASLt 1";
  const fewQueries = "bf16 batch 1 heads 2 on 1 3x70 of 32 causal";
  new TuningTable({ device: "stand-in", target: standInTargets.running, driverVersion: 13000 }).write({
    [keyOf("attention", fewQueries)]: { kernel: "rows", timeMs: 1, firstMs: 2 },
    [keyOf("linearActivationBackward", derivative)]: {
      ...{ kernel: "cuBLASLt 1, derivative in it", timeMs: 1, firstMs: 2 },
    },
  });
  const { CudaBackend } = await import("../src/index.ts");
  const backend = new CudaBackend();

  opContract({
    backend: () => backend,
    reference: () => new ReferenceBackend(),
    dtypes: ["f32", "bf16", "f16"],
    only: ["matmul", "linear", "linearActivationBackward"],
  });

  test("the derivative behind a product: an epilogue, or a pass over it", () => {
    const found = tryEveryKernel(backend, [70, 24, 40]);
    // The third kernel of the stand-in of cuBLASLt refuses, and it knows no more.
    expect(found.map(({ kernel }) => kernel)).toEqual([
      ...[0, 1].map((which) => `cuBLASLt ${which}, derivative in it`),
      "product and pass",
    ]);
    for (const { isSame, apart } of found) {
      expect(isSame).toBe(true);
      // Sums are rounded to eight bits once, the pass rounds its product as well.
      expect(apart[0]).toBeLessThan(2 ** -7);
      expect(apart[1]).toBeLessThan(2 ** -7);
    }
  });

  test("a table may name one for the op", () => {
    const engine = new Engine(backend);
    engine.scope(() => {
      const draw = (shape: number[]): Tensor => randomNormal(shape, { key: randomKey(1), engine }).cast("bf16");
      const operands = [draw([70, 24]), draw([24, 40]), draw([70, 40])];
      operands[0]!.applyAll(ops.linearActivationBackward, operands, { activation: "gelu", sums: "f32" });
    });
    const made = backend.device.choices.made.find((one) => one.problem === derivative);
    expect(made?.chosen).toBe("cuBLASLt 1, derivative in it");
    expect(made?.kernels).toHaveLength(9);
  });

  const attend = (engine: Engine, t: number): Tensor[] => {
    const draw = (shape: number[], seed: number): Tensor =>
      randomNormal(shape, { key: randomKey(seed), engine }).cast("bf16");
    const operands = [draw([1, 2, t, 32], 1), draw([1, 1, 70, 32], 2), draw([1, 1, 70, 32], 3)];
    const attrs = { scale: 0.2, isCausal: true };
    const [o, lse] = operands[0]!.applyAll(ops.attention, operands, attrs);
    return [o!, ...o!.applyAll(ops.attentionBackward, [...operands, o!, lse!, o!], attrs)];
  };

  test("attention runs the way that the table names; without one on tensor cores, of float32 a row at a time", () => {
    const engine = new Engine(backend);
    engine.scope(() => {
      for (const t of [3, 64]) attend(engine, t);
      const x = randomNormal([1, 1, 2, 8], { key: randomKey(1), engine });
      x.applyAll(ops.attention, [x, x, x], { scale: 1, isCausal: false });
    });
    const found = backend.device.choices.made
      .filter(({ op }) => op.startsWith("attention"))
      .map(({ op, problem, kernels, chosen }) => `${op} ${problem}: ${chosen} of ${kernels.join()}`);
    expect(found).toEqual([
      `attention ${fewQueries}: rows of tiles,rows`,
      `attentionBackward ${fewQueries}: tiles of tiles,rows`,
      "attention bf16 batch 1 heads 2 on 1 64x70 of 32 causal: hopper of hopper,tiles",
      "attentionBackward bf16 batch 1 heads 2 on 1 64x70 of 32 causal: hopper of hopper,tiles",
      "attention f32 batch 1 heads 1 2x2 of 8: rows of rows",
    ]);
    expect(backend.arithmetic).toMatch(/, matrix products: cuBLASLt \d+, attention: own, tuned [0-9a-f]{8}$/);
  });

  test("tuning times what was met, writes what is faster, and changes nothing in this process", () => {
    const engine = new Engine(backend);
    const product = (): Float32Array =>
      engine.scope(() => {
        const [a, b] = [3, 4].map((seed) => randomNormal([9, 9], { key: randomKey(seed), engine }));
        return a!.matmul(b!).dataSync() as Float32Array;
      });
    const attention = (): number[][] =>
      engine.scope(() => attend(engine, 3).map((x) => Array.from(x.cast("f32").dataSync())));
    const before = [product(), attention()];
    const lines: string[] = [];
    const report = backend.tune((line) => lines.push(line));
    expect(report.problems).toBeGreaterThan(2);
    expect(report.changed).toBe(lines.length);
    expect(report.bestMs).toBeLessThanOrEqual(report.firstMs);
    const { entries } = JSON.parse(readFileSync(report.path, "utf8")) as {
      entries: Record<string, { kernel: string }>;
    };
    expect(Object.keys(entries).length).toBe(report.problems);
    // The third kernel of the stand-in of cuBLASLt refuses.
    for (const [problem, { kernel }] of Object.entries(entries))
      expect(kernel).toMatch(
        problem.startsWith("matmul")
          ? /^cuBLASLt [01]$/
          : problem.startsWith("attention")
            ? /^(hopper|tiles|rows)$/
            : /^(product and pass|cuBLASLt [01], derivative in it)$/,
      );
    expect([product(), attention()]).toEqual(before);
    expect(backend.memory().liveBlocks).toBe(0);
  });
} else {
  test("tuning on the stand-in driver", (context) => context.skip(reason));
}
