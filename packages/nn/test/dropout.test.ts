import { CpuBackend } from "@revnet-zero/backend-cpu";
import { checkpoint, Engine, type HostData, ones, randomKey } from "@revnet-zero/tensor";
import { expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Attention, checkpointModule, Dropout, MLP, Sequential } from "../src/index.ts";

const engine = new Engine(new CpuBackend());

test("zeroes a share p of the elements (within 5 standard deviations) and keeps the mean", () => {
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0.02, max: 0.95, noNaN: true }), (seed, p) => {
      engine.scope(() => {
        const n = 20000;
        const x = ones([n], { engine });
        const y = engine.withKey(randomKey(seed), () => new Dropout(p).call(x)).dataSync();
        const kept = Array.from(y).filter((v) => v !== 0);
        const zeroed = n - kept.length;
        expect(Math.abs(zeroed / n - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / n));
        expect(kept.every((v) => v === Math.fround(1 / (1 - p)))).toBe(true);
      });
    }),
    runs(20),
  );
});

test("the mask is the key's: the same again, another for the next call and for another key", () => {
  engine.scope(() => {
    const layer = new Dropout(0.5);
    const x = ones([64], { engine });
    const two = (seed: number): HostData[] =>
      engine.withKey(randomKey(seed), () => [layer.call(x).dataSync(), layer.call(x).dataSync()]);
    const [first, second] = two(1) as [HostData, HostData];
    const [again, secondAgain] = two(1) as [HostData, HostData];
    expectBitEqual(again, first);
    expectBitEqual(secondAgain, second);
    expect(second).not.toEqual(first);
    expect(two(2)[0]).not.toEqual(first);
  });
});

test("backward and a recomputed forward draw the mask again", () => {
  engine.scope(() => {
    const layer = new Dropout(0.3);
    const gradient = (run: (x: ReturnType<typeof ones>) => ReturnType<typeof ones>): HostData => {
      const x = ones([64], { engine }).requireGrad();
      engine
        .withKey(randomKey(5), () => run(x))
        .sum()
        .backward();
      return x.grad!.dataSync();
    };
    const mask = engine.withKey(randomKey(5), () => layer.call(ones([64], { engine }))).dataSync();
    expectBitEqual(
      gradient((x) => layer.call(x)),
      mask,
    );
    expectBitEqual(
      gradient((x) => checkpoint((y) => layer.call(y), x)),
      mask,
    );
  });
});

test("the mask costs no memory for backward", () => {
  engine.scope(() => {
    const x = ones([1000], { engine }).requireGrad();
    engine.withKey(randomKey(5), () => new Dropout(0.3).call(x));
    expect(engine.memory().live.saved).toBe(0);
  });
});

test("a checkpointed module runs again with the flags it had: eval between forward and backward changes no bit", () => {
  const gradientOf = (isCheckpointed: boolean, isToggled: boolean): HostData =>
    engine.scope(() => {
      const x = ones([64], { engine }).requireGrad();
      const layer = new Dropout(0.5);
      const y = engine.withKey(randomKey(7), () => (isCheckpointed ? checkpointModule(layer, x) : layer.call(x)));
      if (isToggled) layer.eval();
      y.sum().backward();
      const gradient = x.grad!.dataSync();
      x.dispose();
      return gradient;
    });
  expect(gradientOf(true, true)).toEqual(gradientOf(false, false));
});

test("eval draws no keys: layers run without one and hand their input on", () => {
  engine.scope(() => {
    const key = randomKey(3);
    const model = new Sequential(
      new Attention({ dim: 4, numHeads: 2, dropout: 0.5, key, engine }),
      new MLP({ dim: 4, dropout: 0.5, key, engine }),
      new Dropout(0.5),
    ).eval();
    const x = ones([1, 3, 4], { engine });
    expectBitEqual(model.call(x).dataSync(), model.call(x).dataSync());
    expect(new Dropout(0.5).eval().call(x)).toBe(x);
    expect(new Dropout(0).call(x)).toBe(x);
    expect(() => model.train().call(x)).toThrow("no generator key is set");
    model.dispose();
  });
});

test("a probability outside [0, 1) is refused", () => {
  for (const p of [-0.1, 1, Number.NaN]) expect(() => new Dropout(p)).toThrow("use a number in [0, 1)");
});
