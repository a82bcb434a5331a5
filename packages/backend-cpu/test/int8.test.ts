import { Engine, type Tensor, tensor } from "@revnet-zero/tensor";
import { expectBitEqual, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CpuBackend, tierNames } from "../src/index.ts";

const extremes = [-128, -127, -1, 0, 1, 127];
const sizes = fc.record({ rows: fc.nat({ max: 70 }), columns: fc.nat({ max: 140 }), k: fc.nat({ max: 200 }) });

describe.each(tierNames)("tier %s", (tier) => {
  const engines = (): Engine[] | string => {
    try {
      return [1, 2, 3].map((threads) => new Engine(new CpuBackend({ tier, threads })));
    } catch (error) {
      return (error as Error).message;
    }
  };

  test("products of bytes are exact, ends of the range included, in any order and on any number of threads", () => {
    const all = engines();
    if (typeof all === "string") {
      expect(all).toMatch(/cannot run here/);
      return;
    }
    fc.assert(
      fc.property(sizes, fc.nat(), fc.boolean(), fc.boolean(), ({ rows, columns, k }, seed, turnsA, turnsB) => {
        const random = new Random(seed);
        const draw = (n: number): Int8Array =>
          Int8Array.from({ length: n }, () =>
            random.unit() < 0.5 ? random.pick(extremes) : random.integer(-128, 127),
          );
        const [a, b] = [draw(rows * k), draw(k * columns)];
        const expected = new Int32Array(rows * columns);
        for (let i = 0; i < rows; i++)
          for (let j = 0; j < columns; j++) {
            let sum = 0;
            for (let p = 0; p < k; p++) sum += a[i * k + p]! * b[p * columns + j]!;
            expected[i * columns + j] = sum;
          }
        for (const engine of all) {
          engine.scope(() => {
            const matrix = (values: Int8Array, shape: [number, number], turns: boolean): Tensor => {
              const t = tensor(values, { shape, dtype: "i8", engine });
              return turns ? t.transpose().contiguous().transpose() : t;
            };
            const y = matrix(a, [rows, k], turnsA).matmul(matrix(b, [k, columns], turnsB));
            expect(y.dtype).toBe("i32");
            expectBitEqual(y.dataSync(), expected);
          });
        }
      }),
      runs(30),
    );
  });

  test("sums of the largest products wrap at 2^31, as an i32's do", () => {
    const all = engines();
    if (typeof all === "string") {
      expect(all).toMatch(/cannot run here/);
      return;
    }
    const k = 2 ** 17;
    for (const engine of all) {
      engine.scope(() => {
        const least = (shape: [number, number]): Tensor =>
          tensor(new Int8Array(k).fill(-128), { shape, dtype: "i8", engine });
        expect(
          least([1, k])
            .matmul(least([k, 1]))
            .itemSync(),
        ).toBe(-(2 ** 31));
      });
    }
  });
});
