import { CpuBackend } from "@revnet-zero/backend-cpu";
import { MetaBackend } from "@revnet-zero/backend-meta";
import { type Backend, Engine, foldKey, randomKey, randomNormal, tensor, zeros } from "@revnet-zero/tensor";
import { errorText, expectClose, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { linearCrossEntropy } from "../src/index.ts";

const engine = new Engine(new CpuBackend());
const key = randomKey(5);

interface Case {
  readonly rows: number;
  readonly dim: number;
  readonly classes: number;
  readonly mostLogits: number;
}

/** The loss, and three times its gradients by rows and weight. */
function run({ rows, dim, classes }: Case, mostLogits: number): Float64Array[] {
  return engine.scope(() => {
    const weight = randomNormal([classes, dim], { key, engine, dtype: "f64" }).requireGrad();
    const x = randomNormal([rows, dim], { key: foldKey(key, 1), engine, dtype: "f64" }).requireGrad();
    const random = new Random(rows + classes);
    const targets = Array.from({ length: rows }, () => random.integer(-1, classes - 1));
    const loss = linearCrossEntropy(x, weight, tensor(targets, { dtype: "i32", engine }), { mostLogits });
    loss.mul(3).backward();
    return [loss, x.grad!, weight.grad!].map((t) => t.dataSync() as Float64Array);
  });
}

describe("linearCrossEntropy", () => {
  const cases = fc.record({
    rows: fc.integer({ min: 1, max: 40 }),
    dim: fc.integer({ min: 1, max: 6 }),
    classes: fc.integer({ min: 1, max: 9 }),
    mostLogits: fc.integer({ min: 1, max: 100 }),
  });

  test("has the loss and gradients of all logits at once, whatever the chunks, within 64 roundoffs", () => {
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
    on.ledger.resetPeak();
    on.scope(() => {
      const x = zeros([rows, dim], { engine: on }).requireGrad();
      const weight = zeros([classes, dim], { engine: on }).requireGrad();
      const targets = zeros([rows], { dtype: "i32", engine: on });
      linearCrossEntropy(x, weight, targets).backward();
    });
    expect(on.memory().peakBytes).toBeLessThan(logitBytes / 8);
  });

  test("a pass that records nothing makes no gradients, and has the same loss", () => {
    const loss = (isTraining: boolean): number =>
      engine.scope(() => {
        const x = randomNormal([300, 5], { key, engine });
        const weight = randomNormal([7, 5], { key: foldKey(key, 2), engine });
        const targets = zeros([300], { dtype: "i32", engine });
        return linearCrossEntropy(x.requireGrad(isTraining), weight, targets, { mostLogits: 1000 }).itemSync();
      });
    expect(loss(false)).toBe(loss(true));
  });

  test("refuses chunks of nothing, and shapes that do not fit", () => {
    const weight = zeros([3, 2], { engine });
    const x = zeros([2, 2], { engine });
    const targets = zeros([2], { dtype: "i32", engine });
    expect(errorText(() => linearCrossEntropy(x, weight, targets, { mostLogits: 0 }))).toContain("mostLogits is 0");
    expect(errorText(() => linearCrossEntropy(x, weight, zeros([3], { dtype: "i32", engine })))).toContain("[3] i32");
  });
});
