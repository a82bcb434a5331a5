import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Linear } from "@revnet-zero/nn";
import { AdamW } from "@revnet-zero/optim";
import { ReversibleSequence, updateInBackward } from "@revnet-zero/reversible";
import { Engine, foldKey, full, type HostData, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { errorText, expectBitEqual } from "@revnet-zero/testkit";
import { expect, test } from "vitest";

// Updates inside of backward, with an optimizer of ours.

const engine = new Engine(new CpuBackend());
const size = 4;
const make = (depth: number, seed = 1) => {
  const linear = (i: number): Linear => new Linear({ in: size, out: size, key: foldKey(randomKey(seed), i), engine });
  const layers = Array.from({ length: 2 * depth }, (_, i) => linear(i));
  const blocks = Array.from({ length: depth }, (_, i) => ({ F: layers[2 * i]!, G: layers[2 * i + 1]! }));
  return { layers, head: linear(1000), sequence: new ReversibleSequence({ blocks, engine }) };
};
const input = (seed: number): Tensor => randomNormal([3, size], { key: randomKey(seed), engine });

test("updates in backward by AdamW with a schedule give the weights of ordinary steps, and hold one block's gradients at a time", () => {
  const train = (isFused: boolean): { weights: HostData[]; gradientBytes: number; state: number } => {
    const { sequence, head } = make(4);
    const parameters = [...sequence.parameters(), ...head.parameters()];
    const optimizer = new AdamW(parameters, { learningRate: 0.1 });
    let learningRate = 0;
    const end = isFused ? updateInBackward(sequence, optimizer, { learningRate: () => learningRate }) : () => {};
    let gradientBytes = 0;
    for (let step = 0; step < 5; step++) {
      learningRate = 0.1 / (step + 1);
      engine.scope(() => {
        const x = input(step);
        const [y1, y2] = sequence.call(x, x) as [Tensor, Tensor];
        head.call(y1).mul(y2).sum().backward();
        gradientBytes = engine.memory().live.gradients;
        optimizer.step({ learningRate });
        optimizer.zeroGrad();
      });
    }
    end();
    const weights = parameters.map((p) => p.dataSync());
    const state = optimizer.stateDict().step;
    for (const m of [sequence, head, optimizer]) m.dispose();
    return { weights, gradientBytes, state };
  };
  const [ordinary, fused] = [train(false), train(true)];
  for (const [i, w] of ordinary.weights.entries()) expectBitEqual(fused.weights[i]!, w, `parameter ${i}`);
  expect(fused.state).toBe(ordinary.state);
  // What is left after backward is the head's.
  const layer = 4 * (size * size + size);
  expect([ordinary.gradientBytes, fused.gradientBytes]).toEqual([9 * layer, layer]);
});

test("updates in backward are refused with what they cannot respect", () => {
  const { sequence, head } = make(1);
  const optimizer = new AdamW(sequence.parameters(), { learningRate: 0.1 });
  const refusal = (options: Parameters<typeof updateInBackward>[2]): string =>
    errorText(() => updateInBackward(sequence, optimizer, options));
  expect(refusal({ clipNorm: 1 })).toMatchInlineSnapshot(`
    "ValueError: updateInBackward: clipNorm is 1: the norm of all gradients is known only when all are
      hint: use optimizer.step() after backward instead"
  `);
  expect(refusal({ microBatches: 4 })).toMatchInlineSnapshot(`
    "ValueError: updateInBackward: microBatches is 4: gradients are complete only after the last of them
      hint: use optimizer.step() after backward instead"
  `);
  expect(refusal({ scalesLoss: true })).toMatchInlineSnapshot(`
    "ValueError: updateInBackward: the loss is scaled: a step that overflows is skipped as a whole or not at all
      hint: use optimizer.step() after backward instead"
  `);
  const end = updateInBackward(sequence, optimizer);
  engine.scope(() => {
    sequence.call(input(1), input(2))[0]!.sum().backward();
    // A factor would scale the gradients of some parameters only.
    const factor = full([], 0.5, { engine });
    expect(errorText(() => optimizer.step({ gradientFactor: factor }))).toMatchInlineSnapshot(`
      "ValueError: AdamW.step: a factor for all gradients came after some parameters had been updated in backward
        hint: clip nothing, or update all parameters here"
    `);
  });
  end();
  for (const m of [sequence, head, optimizer]) m.dispose();
});

test("updates in backward are refused for parameters used outside of their block, before or after it, and for gradients that were there", () => {
  const { sequence, layers, head } = make(2);
  const optimizer = new AdamW(sequence.parameters(), { learningRate: 0.1 });
  const end = updateInBackward(sequence, optimizer);
  const text = (loss: () => Tensor): string =>
    engine.scope(() => {
      const found = errorText(() => loss().backward());
      sequence.zeroGrad();
      return found;
    });
  const weights = layers.map((l) => l.weight.dataSync());
  const run = (x: Tensor): Tensor => sequence.call(x, x)[0]!;
  expect(text(() => layers[0]!.call(run(input(1))).sum())).toMatchInlineSnapshot(`
    "AutogradError: updateInBackward: parameter blocks.0.F.weight [4, 4] f32 is tied: it is used in block 0 and elsewhere
      hint: a block that is rebuilt later would see the updated value: use optimizer.step() after backward instead"
  `);
  expect(text(() => run(layers[0]!.call(input(1))).sum())).toMatchInlineSnapshot(`
    "AutogradError: updateInBackward: parameter blocks.0.F.weight [4, 4] f32 is tied: it is used in block 0 and elsewhere
      hint: a block that is rebuilt later would see the updated value: use optimizer.step() after backward instead"
  `);
  expect(
    text(() => {
      layers[2]!.weight.grad = engine.keep(input(3).narrow(0, 0, 1).expand([size, size]).clone());
      return run(input(1)).sum();
    }),
  ).toMatchInlineSnapshot(`
    "AutogradError: updateInBackward: parameter blocks.1.F.weight [4, 4] f32 has a gradient before block 1 is differentiated
      hint: gradients are accumulated, or were not freed: use optimizer.step() after backward instead"
  `);
  // Twice in one graph is used twice.
  expect(text(() => run(run(input(1))).sum())).toContain("is tied");
  for (const [i, l] of layers.entries()) expectBitEqual(l.weight.dataSync(), weights[i]!, `weight ${i}`);
  end();
  expect(sequence.backwardUpdate).toBeUndefined();
  for (const m of [sequence, head, optimizer]) m.dispose();
});
