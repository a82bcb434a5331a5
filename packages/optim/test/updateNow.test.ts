import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, full, type HostData, randomKey, randomNormal } from "@revnet-zero/tensor";
import { errorText, expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Adafactor, AdamW, Lion, SGD } from "../src/index.ts";

const engine = new Engine(new CpuBackend());
const optimizers = {
  AdamW: (count: number) => new AdamW(makeParameters(count), { learningRate: 0.1 }),
  SGD: (count: number) => new SGD(makeParameters(count), { learningRate: 0.1, momentum: 0.9 }),
  Lion: (count: number) => new Lion(makeParameters(count), { learningRate: 0.1 }),
  Adafactor: (count: number) => new Adafactor(makeParameters(count), { learningRate: 0.1 }),
};

function makeParameters(count: number) {
  return Array.from({ length: count }, (_, i) =>
    engine.keep(randomNormal([3, 2], { key: randomKey(i), engine }).requireGrad()),
  );
}

/** Weights after steps in which the parameters of the first `early` are updated ahead, one by one. */
function train(name: keyof typeof optimizers, count: number, early: number): HostData[] {
  const optimizer = optimizers[name](count);
  const { parameters } = optimizer;
  for (let step = 0; step < 3; step++) {
    engine.scope(() => {
      for (const p of parameters)
        p.mul(p)
          .mul(step + 1)
          .sum()
          .backward();
      for (const p of parameters.slice(0, early)) {
        optimizer.updateNow([p], { learningRate: 0.1 / (step + 1) });
        p.grad!.dispose();
        p.grad = undefined;
      }
      optimizer.step({ learningRate: 0.1 / (step + 1) });
      optimizer.zeroGrad();
    });
  }
  expect(optimizer.stepCount).toBe(3);
  const found = parameters.map((p) => p.dataSync());
  for (const p of parameters) p.dispose();
  optimizer.dispose();
  return found;
}

test("parameters updated ahead of their step get the values of the whole step", () => {
  const name = fc.constantFrom(...(Object.keys(optimizers) as (keyof typeof optimizers)[]));
  fc.assert(
    fc.property(name, fc.integer({ min: 1, max: 4 }), fc.nat({ max: 4 }), (algorithm, count, early) => {
      const whole = train(algorithm, count, 0);
      for (const [i, w] of train(algorithm, count, Math.min(early, count)).entries()) {
        expectBitEqual(w, whole[i]!, `${algorithm}, parameter ${i}`);
      }
    }),
    runs(30),
  );
});

test("a factor for all gradients after some were used is refused, and only then", () => {
  const optimizer = optimizers.SGD(2);
  engine.scope(() => {
    const factor = full([], 0.5, { engine });
    for (const p of optimizer.parameters) p.sum().backward();
    optimizer.updateNow(optimizer.parameters.slice(0, 1));
    expect(errorText(() => optimizer.step({ gradientFactor: factor }))).toContain(
      "a factor for all gradients came after",
    );
    optimizer.step();
    optimizer.step({ gradientFactor: factor });
    optimizer.zeroGrad();
  });
  for (const p of optimizer.parameters) p.dispose();
  optimizer.dispose();
});
