import { ReferenceBackend } from "@revnet-zero/backend-cpu";
import { BatchNorm, Dropout, Linear, Sequential } from "@revnet-zero/nn";
import { Engine, foldKey, type HostData, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { expectBitEqual, expectClose } from "@revnet-zero/testkit";
import { expect, test } from "vitest";
import {
  checkReversible,
  midpoint,
  momentum,
  type ReversibleBlock,
  type ReversibleMode,
  ReversibleSequence,
  reversibleHeun,
  reversibleModes,
} from "../src/index.ts";
import { newEngine } from "./fixtures.ts";

// What users of other libraries of reversible layers have reported, and what their authors measured against themselves: each
// as a test of its name. The rest is held by tests of its own: gradients of a user's coupling and of dropout against numbers
// written out (regressions), autocast, tied parameters and graphs kept (situations), values checked and not shapes (checks),
// arguments for branches, routing and updates in backward (effects), bytes by depth (memory, properties).

const engine = newEngine();
const linear = (index: number, dim = 4): Linear =>
  new Linear({ in: dim, out: dim, key: foldKey(randomKey(9), index), engine });
const input = (index: number): Tensor => randomNormal([3, 4], { key: foldKey(randomKey(4), index), engine });

/** Output, input gradient and parameter gradients of Σ y1 y2 in a mode. */
function step(sequence: ReversibleSequence, mode: ReversibleMode, prepare = (x: Tensor): Tensor => x): HostData[] {
  return engine.scope(() => {
    sequence.mode = mode;
    const x = input(0).requireGrad();
    const [y1, y2] = sequence.call(prepare(x), prepare(x)) as [Tensor, Tensor];
    y1.mul(y2).sum().backward();
    const found = [y1.dataSync(), x.grad!.dataSync(), ...sequence.parameters().map((p) => p.grad!.dataSync())];
    sequence.zeroGrad();
    x.dispose();
    return found;
  });
}

function expectStored(sequence: ReversibleSequence, prepare?: (x: Tensor) => Tensor): void {
  const stored = step(sequence, "store", prepare);
  for (const mode of ["exact", "checkpoint"] as const) {
    for (const [i, values] of step(sequence, mode, prepare).entries())
      expectBitEqual(values, stored[i]!, `${mode} ${i}`);
  }
}

test("memory creeps up from iteration to iteration", () => {
  const sequence = new ReversibleSequence({ blocks: [{ F: linear(0), G: linear(1) }], engine });
  step(sequence, "exact");
  const { liveBytes, liveBuffers } = engine.memory();
  const handles = engine.liveTensors;
  for (let i = 0; i < 50; i++) step(sequence, "exact");
  expect([engine.memory().liveBytes, engine.memory().liveBuffers, engine.liveTensors]).toEqual([
    liveBytes,
    liveBuffers,
    handles,
  ]);
  sequence.dispose();
});

test("a ReLU before the first block crashes, or gets the gradient of an overwritten output", () => {
  const sequence = new ReversibleSequence({ blocks: [{ F: linear(0), G: linear(1) }], engine });
  expectStored(sequence, (x) => x.relu());
  expectStored(sequence, (x) => x.tanh());
  sequence.dispose();
});

test("inputs are gone, or changed, after a pass", () => {
  const sequence = new ReversibleSequence({ blocks: [{ F: linear(0), G: linear(1) }], engine });
  for (const mode of reversibleModes) {
    engine.scope(() => {
      sequence.mode = mode;
      const xs = [input(0), input(1)].map((x) => x.requireGrad()) as [Tensor, Tensor];
      const before = xs.map((x) => x.dataSync().slice());
      const y = sequence.call(...xs)[0]!;
      for (const [i, x] of xs.entries()) expectBitEqual(x.dataSync(), before[i] as HostData, mode);
      y.sum().backward();
      for (const [i, x] of xs.entries()) expectBitEqual(x.dataSync(), before[i] as HostData, mode);
      for (const x of xs) x.dispose();
    });
  }
  sequence.zeroGrad();
  sequence.dispose();
});

test("running statistics are updated twice a step", () => {
  const norm = new BatchNorm({ dim: 4, engine, momentum: 0.5 });
  const sequence = new ReversibleSequence({ blocks: [{ F: norm, G: linear(1) }], engine });
  engine.scope(() => {
    const x = input(0);
    const mean = x.mean(0).dataSync();
    sequence.call(x, x)[0]!.sum().backward();
    expectClose(norm.runningMean.dataSync(), { exact: [...mean].map((m) => m / 2), dtype: "f32", scale: 2 });
  });
  sequence.dispose();
});

test("dropout in eval asks for a seed", () => {
  const layer = new Sequential(linear(0), new Dropout(0.5));
  const sequence = new ReversibleSequence({ blocks: [{ F: layer, G: linear(1) }], engine }).eval();
  expectStored(sequence);
  sequence.dispose();
});

test("random numbers outside of the network are other ones because branches ran again", () => {
  const layer = new Sequential(linear(0), new Dropout(0.5));
  const sequence = new ReversibleSequence({ blocks: [{ F: layer, G: layer }], engine });
  const after = reversibleModes.map((mode) =>
    engine.withKey(randomKey(1), () => {
      step(sequence, mode);
      return engine.scope(() => input(0).dropout(0.5, engine.nextKey("test")).dataSync());
    }),
  );
  for (const values of after) expectBitEqual(values, after[0]!);
  sequence.dispose();
});

test("a NaN in a branch spreads to the loss without a word", async () => {
  const F = (x: Tensor): Tensor => x.mul(-1).abs().neg().sqrt();
  const sequence = new ReversibleSequence({ blocks: [{ F, G: (x) => x.mul(0.5) }], engine });
  const y = engine.scope(() => sequence.call(input(0), input(1))[0]!);
  expect([...y.dataSync()].every(Number.isFinite)).toBe(true);
  expect((await sequence.health()).nan).toBe(12);
  y.dispose();
  sequence.dispose();
});

test("there is no inverse, and what there is of one is not exact", async () => {
  const blocks: ReversibleBlock[] = [
    midpoint({ f: linear(0) }),
    { F: linear(1), G: linear(2) },
    reversibleHeun({ f: linear(3) }),
  ];
  const sequence = new ReversibleSequence({ blocks, engine });
  const survey = await checkReversible(sequence, { shape: [3, 4] });
  expect(survey.isExact).toBe(true);
  expect(survey.reconstructionUlpError).toBe(0);
  sequence.dispose();
});

test("an adjoint that solves backwards has another gradient than the solver's own steps", () => {
  const field = linear(5);
  const blocks = Array.from({ length: 40 }, () => reversibleHeun({ f: (x) => field.call(x).tanh(), stepSize: 0.5 }));
  const sequence = new ReversibleSequence({ blocks, engine });
  expectStored(sequence);
  sequence.dispose();
  field.dispose();
});

test("an exact momentum block is inexact for negative values, and its buffer overflows after enough halvings", () => {
  for (const gamma of [0.5, 0.9]) {
    const blocks = Array.from({ length: 64 }, (_, i) => momentum({ f: linear(i), gamma }));
    const sequence = new ReversibleSequence({ blocks, engine });
    engine.scope(() => {
      const xs = [input(0), input(1).neg()].map((x) => sequence.enter(x)) as [Tensor, Tensor];
      let back: Tensor[];
      try {
        back = sequence.invertible(...xs).inverse();
      } catch (error) {
        // A mode that cannot undo it must say so; it may not return something near.
        expect(String(error)).toContain("cannot undo a multiplication");
        return;
      }
      for (const [i, x] of xs.entries())
        expectBitEqual(back[i]!.dataSync(), x.dataSync(), `gamma ${gamma} stream ${i}`);
    });
    sequence.dispose();
  }
});

test("two engines, or an engine that is not the default one, get mixed up", () => {
  const other = new Engine(new ReferenceBackend());
  const key = randomKey(3);
  const on = (own: Engine): HostData => {
    const F = new Linear({ in: 4, out: 4, key, engine: own });
    const sequence = new ReversibleSequence({ blocks: [{ F, G: F }], engine: own });
    const values = own.scope(() => {
      const x = randomNormal([2, 4], { key, engine: own });
      return sequence.call(x, x)[0]!.dataSync();
    });
    sequence.dispose();
    return values;
  };
  expectClose(on(engine), { exact: [...on(other)], dtype: "f32", scale: 8 });
});
