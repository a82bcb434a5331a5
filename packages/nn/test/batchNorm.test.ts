import { CpuBackend } from "@revnet-zero/backend-cpu";
import { checkpoint, Engine, expectNoLeak, type Tensor, tensor } from "@revnet-zero/tensor";
import { errorText, expectBitEqual, expectClose, gradcheck, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BatchNorm } from "../src/index.ts";

const engine = new Engine(new CpuBackend());

/** An input [batch, ...before, dim, ...after] by shape and axis. */
const cases = fc.record({
  shape: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 2, maxLength: 4 }),
  axis: fc.nat({ max: 3 }),
  seed: fc.nat(),
  momentum: fc.constantFrom(0, 0.1, 0.5, 1),
});

function channelOf(i: number, shape: readonly number[], axis: number): number {
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  return Math.floor(i / inner) % shape[axis]!;
}

/** Mean and (biased) variance of each channel, in float64. */
function statistics(values: readonly number[], shape: readonly number[], axis: number) {
  return Array.from({ length: shape[axis]! }, (_, channel) => {
    const own = values.filter((_, i) => channelOf(i, shape, axis) === channel);
    const mean = own.reduce((a, b) => a + b, 0) / own.length;
    return { mean, variance: own.reduce((a, b) => a + (b - mean) ** 2, 0) / own.length, count: own.length };
  });
}

describe("BatchNorm", () => {
  test("is its formula in training and in eval, and collects what eval uses", () => {
    fc.assert(
      fc.property(cases, ({ shape, axis: any, seed, momentum }) => {
        const axis = any % shape.length;
        expectNoLeak(engine, () =>
          engine.scope(() => {
            const random = new Random(seed);
            const norm = new BatchNorm({
              dim: shape[axis]!,
              axis: axis - shape.length,
              momentum,
              dtype: "f64",
              engine,
            });
            const values = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.between(-3, 3));
            const x = tensor(values, { shape, dtype: "f64", engine });
            const found = statistics(values, shape, axis);
            const exact = values.map((v, i) => {
              const { mean, variance } = found[channelOf(i, shape, axis)]!;
              return (v - mean) / Math.sqrt(variance + norm.eps);
            });
            expectClose(norm.call(x).dataSync(), { exact, dtype: "f64", scale: 1e3 });
            const running = found.map((s) => ({
              mean: momentum * s.mean,
              variance: 1 - momentum + (momentum * s.variance * s.count) / Math.max(s.count - 1, 1),
            }));
            expectClose(norm.runningMean.dataSync(), { exact: running.map((s) => s.mean), dtype: "f64", scale: 10 });
            norm.eval();
            const later = values.map((v, i) => {
              const { mean, variance } = running[channelOf(i, shape, axis)]!;
              return (v - mean) / Math.sqrt(variance + norm.eps);
            });
            expectClose(norm.call(x).dataSync(), { exact: later, dtype: "f64", scale: 1e4 });
            norm.dispose();
          }),
        );
      }),
      runs(60),
    );
  });

  test("has the gradients of its formula by input and parameters", async () => {
    const norm = new BatchNorm({ dim: 3, dtype: "f64", engine });
    const random = new Random(2);
    const x = tensor(
      Array.from({ length: 24 }, () => random.between(-2, 2)),
      { shape: [4, 3, 2], dtype: "f64", engine },
    );
    await gradcheck(
      (input, weight, bias) => {
        const before = [norm.weight, norm.bias];
        Object.assign(norm, { weight, bias });
        const y = norm.forward(input!);
        Object.assign(norm, { weight: before[0], bias: before[1] });
        return y;
      },
      [x, norm.weight.detach(), norm.bias.detach()],
    );
    norm.dispose();
    x.dispose();
  });

  test("in a checkpoint updates its statistics once, and gives the same bits", () => {
    const run = (wrap: (f: (x: Tensor) => Tensor, x: Tensor) => Tensor) => {
      const norm = new BatchNorm({ dim: 4, axis: -1, engine });
      const x = tensor([1, 2, 3, 4, -1, 0, 5, 2], { shape: [2, 4], dtype: "f32", engine }).requireGrad();
      engine.scope(() =>
        wrap((y) => norm.call(y).square(), x)
          .sum()
          .backward(),
      );
      const found = [x.grad!, norm.weight.grad!, norm.runningMean, norm.runningVariance].map((t) =>
        t.dataSync().slice(),
      );
      norm.dispose();
      x.dispose();
      return found;
    };
    const stored = run((f, x) => f(x));
    run((f, x) => checkpoint((y) => f(y), x)).forEach((values, i) => {
      expectBitEqual(values, stored[i]!, `value ${i}`);
    });
  });

  test("in eval refuses a second run after its statistics have changed", () => {
    const norm = new BatchNorm({ dim: 2, engine });
    const x = tensor([1, 2, 3, 5], { shape: [2, 2], dtype: "f32", engine }).requireGrad();
    engine.scope(() => {
      norm.eval();
      const loss = checkpoint((y) => norm.call(y), x).sum();
      norm.train().call(x);
      norm.eval();
      expect(errorText(() => loss.backward())).toMatchInlineSnapshot(`
        "AutogradError: backward: a tensor that checkpoint saved was modified in place after it was saved (version 0, now 1)
          hint: run optimizer steps and other in-place updates after backward, or clone the tensor first"
      `);
    });
    norm.dispose();
    x.dispose();
  });

  test("refuses inputs of other channels, and a share beyond 1", () => {
    const norm = new BatchNorm({ dim: 3, engine });
    engine.scope(() => {
      expect(errorText(() => norm.call(tensor([[1, 2]], { dtype: "f32", engine })))).toMatchInlineSnapshot(`
        "ShapeError: BatchNorm: axis 1 of [1, 2] f32 is not 3 channels long
          hint: pass axis: -1 for channels in the last axis"
      `);
    });
    expect(errorText(() => new BatchNorm({ dim: 3, momentum: 2, engine }))).toMatchInlineSnapshot(`
      "ValueError: BatchNorm: momentum is 2
        hint: use a number from 0 to 1"
    `);
    norm.dispose();
  });
});
