import { CpuBackend } from "@revnet-zero/backend-cpu";
import { MetaBackend } from "@revnet-zero/backend-meta";
import { type Backend, Engine, foldKey, randomKey, randomNormal, tensor, zeros } from "@revnet-zero/tensor";
import { errorText, expectClose, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chunkedCrossEntropy, Linear } from "../src/index.ts";

const engine = new Engine(new CpuBackend());
const key = randomKey(5);

interface Case {
  readonly rows: number;
  readonly dim: number;
  readonly classes: number;
  readonly mostLogits: number;
}

/** Losses, and gradients by rows, weights and bias, of a random head. */
function run({ rows, dim, classes }: Case, mostLogits: number): Float64Array[] {
  return engine.scope(() => {
    const head = new Linear({ in: dim, out: classes, key, engine, dtype: "f64" });
    const x = randomNormal([rows, dim], { key: foldKey(key, 1), engine, dtype: "f64" }).requireGrad();
    const random = new Random(rows + classes);
    const targets = Array.from({ length: rows }, () => random.integer(-1, classes - 1));
    const losses = chunkedCrossEntropy(head, x, tensor(targets, { dtype: "i32", engine }), { classes, mostLogits });
    losses.mul(losses.add(1)).sum().backward();
    const found = [losses, x.grad!, ...head.parameters().map((p) => p.grad!)];
    const values = found.map((t) => t.dataSync() as Float64Array);
    head.dispose();
    return values;
  });
}

describe("chunkedCrossEntropy", () => {
  const sizes = { rows: fc.integer({ min: 1, max: 40 }), dim: fc.integer({ min: 1, max: 6 }) };
  const cases = fc.record({
    ...sizes,
    classes: fc.integer({ min: 1, max: 9 }),
    mostLogits: fc.integer({ min: 1, max: 100 }),
  });

  test("has the losses and gradients of all logits at once, whatever the chunks, within 64 roundoffs", () => {
    fc.assert(
      fc.property(cases, (c) => {
        const whole = run(c, Number.POSITIVE_INFINITY);
        for (const [i, values] of run(c, c.mostLogits).entries()) {
          const scale = Math.max(1, ...whole[i]!.map(Math.abs)) * c.rows;
          expectClose(values, { exact: whole[i]!, dtype: "f64", scale, factor: 64 });
        }
      }),
      runs(50),
    );
  });

  test("a training pass never holds the logits of a large vocabulary", () => {
    const [rows, dim, classes] = [8192, 64, 50_304];
    const logitBytes = 4 * rows * classes; // 1.6 GB
    const on = new Engine(MetaBackend.like(new CpuBackend()) as Backend);
    const head = new Linear({ in: dim, out: classes, key, engine: on });
    on.ledger.resetPeak();
    on.scope(() => {
      const x = zeros([rows, dim], { engine: on }).requireGrad();
      const targets = zeros([rows], { dtype: "i32", engine: on });
      chunkedCrossEntropy(head, x, targets, { classes }).sum().backward();
    });
    expect(on.memory().peakBytes).toBeLessThan(logitBytes / 5);
  });

  test("refuses chunks of nothing", () => {
    const head = new Linear({ in: 2, out: 3, key, engine });
    const x = zeros([2, 2], { engine });
    const targets = zeros([2], { dtype: "i32", engine });
    expect(errorText(() => chunkedCrossEntropy(head, x, targets, { classes: 3, mostLogits: 0 }))).toContain(
      "mostLogits is 0",
    );
  });
});
