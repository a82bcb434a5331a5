import { CpuBackend, ReferenceBackend } from "@revnet-zero/backend-cpu";
import { type DType, Engine, full, randomKey, randomNormal, type Tensor, toWords } from "@revnet-zero/tensor";
import { errorText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { algorithms } from "./algorithms.ts";

const backends = [
  ["cpu", "f32", () => new CpuBackend()],
  ["cpu", "f64", () => new CpuBackend()],
  ["reference", "f32", () => new ReferenceBackend()],
] as const satisfies readonly (readonly [string, DType, () => unknown])[];

const bits = (t: Tensor): number[] => Array.from(toWords(t.dataSync(), t.dtype));

describe.each(backends)("on %s in %s", (_, dtype, make) => {
  test.each(Object.keys(algorithms))(
    "%s with a factor that is no number changes nothing, and taken back it was no step",
    (name) => {
      const engine = new Engine(make());
      fc.assert(
        fc.property(algorithms[name]!, fc.constantFrom(Number.NaN, Infinity, -Infinity), (algorithm, factor) => {
          /** Three steps, of which the second is tried twice, the first time in vain. */
          const train = (isTriedTwice: boolean): unknown[] => {
            const parameters = [[3, 2], [4]].map((shape, i) =>
              engine.keep(
                engine.scope(() => randomNormal(shape, { key: randomKey(i), engine }).cast(dtype)).requireGrad(),
              ),
            );
            const optimizer = algorithm.make(parameters);
            const step = (n: number, by?: number): void =>
              engine.scope(() => {
                for (const p of parameters)
                  p.mul(p)
                    .mul(n + 1)
                    .sum()
                    .backward();
                optimizer.step(by === undefined ? {} : { gradientFactor: full([], by, { engine }) });
                optimizer.zeroGrad();
              });
            for (let n = 0; n < 3; n++) {
              if (n === 1 && isTriedTwice) {
                step(n, factor);
                optimizer.takeBack();
                expect(errorText(() => optimizer.takeBack())).toContain("there is no step to take back");
              }
              step(n);
            }
            const { step: count, updates, tensors } = optimizer.stateDict();
            const found = [count, updates, parameters.map(bits), [...tensors].map(([key, t]) => [key, bits(t)])];
            optimizer.dispose();
            for (const p of parameters) p.dispose();
            return found;
          };
          expect(train(true)).toEqual(train(false));
        }),
        runs(8),
      );
    },
  );
});
