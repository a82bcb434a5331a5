import { Linear, Module } from "@revnet-zero/nn";
import {
  checkpoint,
  foldKey,
  randomKey,
  randomNormal,
  setDefaultEngine,
  type Tensor,
  tensor,
} from "@revnet-zero/tensor";
import { errorText, expectBitEqual } from "@revnet-zero/testkit";
import { expect, test } from "vitest";
import { ContinuousDepthBlock } from "../src/index.ts";
import { newEngine } from "./fixtures.ts";

const engine = newEngine();
setDefaultEngine(engine);
const noise = (seed: number, ...shape: number[]): Tensor =>
  randomNormal(shape, { key: foldKey(randomKey(5), seed), engine });

/** A field with parameters, steeper with `gain`. */
class Field extends Module {
  readonly linear: Linear;
  readonly gain: number;
  constructor(gain = 1) {
    super();
    this.linear = new Linear({ in: 6, out: 6, key: randomKey(1), engine });
    this.linear.weight.assign(noise(9, 6, 6).mul(0.3));
    this.gain = gain;
  }
  override forward(x: Tensor): Tensor {
    return this.linear.call(x.mul(this.gain)).tanh();
  }
}

function gradients(block: ContinuousDepthBlock, field: Field) {
  const x = noise(1, 4, 6).requireGrad();
  block.zeroGrad();
  const y = block.call(x);
  y.square().sum().backward();
  return [y, x.grad!, ...field.parameters().map((p) => p.grad!)].map((t) => Float32Array.from(t.dataSync()));
}

test("the reversible Heun method is of second order: half the step, about a fourth of the error", () => {
  const errors = [8, 16, 32].map((steps) => {
    const block = new ContinuousDepthBlock({ f: (x: Tensor) => x.mul(-1.5), steps, mode: "float" });
    return engine.scope(() => Math.abs(block.call(tensor([[1]])).itemSync() - Math.exp(-1.5)));
  });
  for (const i of [1, 2]) expect(errors[i - 1]! / errors[i]!).toBeGreaterThan(3);
});

test("a field that depends on time is given the times of its steps", () => {
  const block = new ContinuousDepthBlock({
    f: (x: Tensor, t: number) => x.zerosLike().add(3 * t * t),
    isTimeDependent: true,
    duration: 2,
    steps: 64,
  });
  engine.scope(() => expect(block.call(tensor([[0]])).itemSync()).toBeCloseTo(8, 2));
});

test("the controller takes more steps where the field is steep, and comes as close as it is told", () => {
  const steps = [1, 4].map((rate) => {
    const block = new ContinuousDepthBlock({ f: (x: Tensor) => x.mul(-rate), tolerance: 1e-3, maxSteps: 1024 });
    const y = engine.scope(() => block.call(tensor([[1]])).itemSync());
    expect(Math.abs(y - Math.exp(-rate))).toBeLessThan(1e-3);
    expect(block.lastSteps.reduce((a, b) => a + b)).toBe(1);
    return block.lastSteps.length;
  });
  expect(steps[1]!).toBeGreaterThan(steps[0]!);
  const few = new ContinuousDepthBlock({ f: (x: Tensor) => x.mul(-50), tolerance: 1e-9, maxSteps: 8 });
  engine.scope(() => few.call(tensor([[1]])));
  expect(few.lastSteps).toEqual(new Array(8).fill(1 / 8));
});

test("gradients have the bits of backpropagation through stored steps, by chosen and by equal steps", () => {
  for (const options of [{ tolerance: 1e-3 }, { steps: 5 }]) {
    const field = new Field();
    const block = new ContinuousDepthBlock({ f: field, ...options });
    const found = gradients(block, field);
    const steps = block.lastSteps;
    block.mode = "store";
    const expected = gradients(block, field);
    expect(block.lastSteps).toEqual(steps);
    for (const [i, x] of found.entries()) expectBitEqual(x, expected[i]!, `result ${i}`);
    block.dispose();
  }
});

test("activations of a pass do not grow with the number of steps", () => {
  const peak = (steps: number): number => {
    const block = new ContinuousDepthBlock({ f: new Field(), steps });
    const x = noise(1, 512, 6).requireGrad();
    engine.scope(() => block.call(x).sum().backward());
    engine.ledger.resetPeak();
    engine.scope(() => block.call(x).sum().backward());
    const { activationBytes } = engine.memory();
    block.dispose();
    x.grad!.dispose();
    x.dispose();
    return activationBytes;
  };
  expect(peak(40)).toBeLessThan(1.1 * peak(5));
});

test("a second run takes the steps of the first, whatever its controller would say", () => {
  const field = new Field();
  let gain = 1;
  const block = new ContinuousDepthBlock({ f: (x: Tensor) => field.call(x).mul(gain), tolerance: 1e-5 });
  const taken: (readonly number[])[] = [];
  engine.scope(() => {
    const x = noise(1, 4, 6).requireGrad();
    const y = checkpoint((given) => {
      const result = block.call(given);
      taken.push(block.lastSteps);
      return result;
    }, x);
    // To a controller the second run's field is another.
    gain = 20;
    y.sum().backward();
  });
  expect(taken).toHaveLength(2);
  expect(taken[1]).toEqual(taken[0]);
});

test("nonsense is refused", () => {
  const f = (x: Tensor): Tensor => x;
  expect(errorText(() => new ContinuousDepthBlock({ f, steps: 0 }))).toContain("steps is 0");
  expect(errorText(() => new ContinuousDepthBlock({ f, tolerance: 0 }).call(tensor([[1]])))).toContain("tolerance 0");
});
