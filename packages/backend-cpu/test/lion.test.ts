import { dispatch, Engine, ops, randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";
import { expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, test } from "vitest";
import { tierNames } from "../src/index.ts";
import { backendOf } from "./tier.fixture.ts";

const attrs = fc.record({
  beta1: fc.constantFrom(0.5, 0.9, 0.95),
  beta2: fc.constantFrom(0.9, 0.99),
  weightDecay: fc.constantFrom(0, 0.1),
});

describe.each(tierNames)("tier %s", (tier) => {
  test("a Lion step has the bits of its composed form, on any size, on one thread and two", () => {
    const engines = [1, 2].flatMap((threads) => {
      const backend = backendOf(tier, { threads });
      return backend === undefined ? [] : [new Engine(backend)];
    });
    if (engines.length === 0) return;
    fc.assert(
      fc.property(
        attrs,
        fc.double({ min: 1e-5, max: 0.1, noNaN: true }),
        fc.array(fc.nat({ max: 5000 }), { minLength: 1, maxLength: 3 }),
        fc.nat(),
        (a, learningRate, sizes, seed) => {
          const stepped = (engine: Engine, isComposed: boolean): Float32Array[] =>
            engine.scope(() => {
              const draw = (i: number, size: number): Tensor =>
                randomNormal([size], { key: randomKey(seed + i), engine });
              const tensors = sizes.flatMap((size, i) => [0, 1, 2].map((k) => draw(3 * i + k, size)));
              const inputs = [draw(99, 1).reshape([]), tensor([learningRate], { engine }), ...tensors];
              const run = () => (isComposed ? ops.lion.decompose(inputs, a) : dispatch(engine, ops.lion, inputs, a));
              return engine.noGrad(run).map((t) => Float32Array.from(t.dataSync()));
            });
          const expected = stepped(engines[0]!, true);
          for (const engine of engines)
            stepped(engine, false).forEach((actual, i) => {
              expectBitEqual(actual, expected[i]!, `output ${i}`);
            });
        },
      ),
      runs(20),
    );
  });
});
