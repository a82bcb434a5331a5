import { MLP, Module } from "@revnet-zero/nn";
import { grad, ones, randomKey, setDefaultEngine, type Tensor, tensor, zeros } from "@revnet-zero/tensor";
import { errorText } from "@revnet-zero/testkit";
import { afterAll, describe, expect, test } from "vitest";
import { type Branch, type ReversibleMode, ReversibleSequence, reversibleModes } from "../src/index.ts";
import { newEngine } from "./fixtures.ts";

const engine = newEngine();
const scope = engine.openScope();
afterAll(() => scope.close());

const half: Branch = (x) => x.mul(0.5);
const sequenceOf = (F: Branch, mode: ReversibleMode = "exact", G: Branch = half): ReversibleSequence =>
  new ReversibleSequence({
    blocks: [
      { F: half, G: half },
      { F, G },
    ],
    mode,
    engine,
  });
const x = ones([2, 3], { engine });

describe("options that make no sense", () => {
  test("an unknown mode", () => {
    const mode = "reversible" as ReversibleMode;
    expect(errorText(() => sequenceOf(half, mode))).toMatchInlineSnapshot(`
      "ValueError: ReversibleSequence: unknown mode "reversible"
        hint: use one of exact, exact16, grid-f32, lossless, float, store, store-exact16, store-grid-f32, store-float, checkpoint"
    `);
    const sequence = sequenceOf(half, "store");
    expect(
      errorText(() => {
        sequence.mode = mode;
      }),
    ).toMatchInlineSnapshot(`
      "ValueError: ReversibleSequence: unknown mode "reversible"
        hint: use one of exact, exact16, grid-f32, lossless, float, store, store-exact16, store-grid-f32, store-float, checkpoint"
    `);
    expect(sequence.mode).toBe("store");
  });

  test("a binary point outside of the word", () => {
    const make = (fractionBits: number) => (): unknown => new ReversibleSequence({ blocks: [], fractionBits, engine });
    expect(errorText(make(31))).toMatchInlineSnapshot(`
      "ValueError: ReversibleSequence: fractionBits is 31
        hint: use an integer from 0 to 30, or "auto""
    `);
    for (const bits of [-1, 1.5, Number.NaN]) expect(make(bits)).toThrow("use an integer from 0 to 30");
  });

  test("functions alone, with no engine named", () => {
    setDefaultEngine(undefined);
    expect(errorText(() => new ReversibleSequence({ blocks: [{ F: half, G: half }] }))).toMatchInlineSnapshot(`
      "BackendError: engine: no default engine is set
        hint: import "revnet-zero", which picks the best backend present, or call setDefaultEngine(new Engine(new CpuBackend()))"
    `);
  });
});

describe("streams that do not fit", () => {
  const sequence = sequenceOf(half);
  const y = ones([3, 2], { engine });
  const words = x.quantise(20);

  test("of two shapes", () => {
    expect(errorText(() => sequence.call(x, y))).toMatchInlineSnapshot(`
      "ShapeError: ReversibleSequence: the two streams differ: [2, 3] f32 and [3, 2] f32
        hint: both must have one shape, and be floats or fixed-point streams alike"
    `);
    expect(errorText(() => sequence.inverse(x, y))).toMatchInlineSnapshot(`
      "ShapeError: inverse: the two streams differ: [2, 3] f32 and [3, 2] f32
        hint: both must have one shape, and be floats or fixed-point streams alike"
    `);
  });

  test("of two kinds", () => {
    expect(errorText(() => sequence.call(x, words))).toMatchInlineSnapshot(`
      "ShapeError: ReversibleSequence: the two streams differ: [2, 3] f32 and [2, 3] i32
        hint: both must have one shape, and be floats or fixed-point streams alike"
    `);
  });

  test("fixed-point streams in the float modes", () => {
    expect(errorText(() => sequenceOf(half, "float").call(words, words))).toMatchInlineSnapshot(`
      "DTypeError: reversible: float streams cannot take the fixed-point tensor [2, 3] i32
        hint: dequantise it first, or use mode exact"
    `);
    expect(errorText(() => sequenceOf(half, "store-float").call(words, words))).toMatchInlineSnapshot(`
      "DTypeError: reversible: float streams cannot take the fixed-point tensor [2, 3] i32
        hint: dequantise it first, or use mode exact"
    `);
    expect(errorText(() => sequenceOf(half, "float").inverse(words, words))).toMatchInlineSnapshot(`
      "DTypeError: reversible: float streams cannot take the fixed-point tensor [2, 3] i32
        hint: dequantise it first, or use mode exact"
    `);
  });
});

describe("a branch of another shape", () => {
  const narrow: Branch = (s) => s.narrow(-1, 0, 1);

  test("is named with its block, the same in every mode, also where it would broadcast", () => {
    const text = errorText(() => sequenceOf(narrow).call(x, x));
    expect(text).toMatchInlineSnapshot(`
      "ShapeError: reversible: branch F of block 1 returned [2, 1] f32, its stream is [2, 3] f32
        hint: F and G must return the shape they are given"
    `);
    for (const mode of reversibleModes) expect(errorText(() => sequenceOf(narrow, mode).call(x, x))).toBe(text);
    expect(errorText(() => sequenceOf(half, "exact", narrow).call(x, x))).toMatchInlineSnapshot(`
      "ShapeError: reversible: branch G of block 1 returned [2, 1] f32, its stream is [2, 3] f32
        hint: F and G must return the shape they are given"
    `);
  });

  test("is found by inverse, too", () => {
    for (const mode of ["exact", "float"] as const) {
      expect(errorText(() => sequenceOf(narrow, mode).inverse(x, x))).toContain("branch F of block 1 returned [2, 1]");
    }
  });

  test("may come up in the second run only", () => {
    for (const mode of ["exact", "float", "checkpoint"] as const) {
      let calls = 0;
      const moody: Branch = (s) => (calls++ === 0 ? s : s.narrow(-1, 0, 1));
      const leaf = x.detach().requireGrad();
      const loss = sequenceOf(moody, mode).call(leaf, leaf)[0]!.sum();
      expect(errorText(() => loss.backward())).toContain("branch F of block 1 returned [2, 1]");
    }
  });
});

describe("a graph used in ways it cannot be", () => {
  const loss = (sequence: ReversibleSequence, a: Tensor, b: Tensor): Tensor => {
    const [y1, y2] = sequence.call(a, b) as [Tensor, Tensor];
    return y1.mul(y2).sum();
  };

  test("a second backward", () => {
    for (const mode of ["exact", "float"] as const) {
      const leaf = x.detach().requireGrad();
      const found = sequenceOf(half, mode).call(leaf, leaf)[0]!.sum();
      found.backward();
      expect(errorText(() => found.backward())).toMatchInlineSnapshot(`
        "AutogradError: backward: the values that reversible sequence saved were freed by an earlier backward pass
          hint: pass { retainGraph: true } to the first backward, or compute the loss again"
      `);
    }
  });

  test("a parameter changed between forward and backward", () => {
    const mlp = new MLP({ dim: 3, key: randomKey(1), engine });
    const found = loss(sequenceOf(mlp), x, x);
    mlp.up.weight.detach().assign(zeros(mlp.up.weight.shape, { engine }));
    expect(errorText(() => found.backward())).toMatchInlineSnapshot(`
      "AutogradError: reversible sequence: captured tensor blocks.1.F.up.weight was modified in place between forward and backward
        hint: step the optimizer only after backward"
    `);
    mlp.dispose();
  });

  test("a second derivative where activations are rebuilt", () => {
    for (const mode of ["exact", "float"] as const) {
      const sequence = sequenceOf((s) => s.sin(), mode);
      const second = (): unknown => grad((a) => grad((b) => loss(sequence, b, b), [a])[0]!.sum(), [x]);
      expect(errorText(second)).toMatchInlineSnapshot(`
        "AutogradError: reversible sequence: has no second derivative: its backward pass rebuilds activations and cannot be recorded
          hint: use the stored form (reversible modules: mode "store") where second derivatives are needed"
      `);
    }
  });

  test("a sequence after dispose", () => {
    const sequence = sequenceOf(half);
    sequence.dispose();
    expect(errorText(() => sequence.call(x, x))).toMatchInlineSnapshot(`
      "LifetimeError: ReversibleSequence: called after dispose()
        hint: make a new module, or dispose it later"
    `);
  });
});

test("a branch's own error comes out as it is, whatever the depth", () => {
  class Broken extends Module {
    override forward(s: Tensor): Tensor {
      return s.matmul(tensor([[1, 2]], { engine }));
    }
  }
  expect(errorText(() => sequenceOf(new Broken()).call(x, x))).toMatchInlineSnapshot(`
    "ShapeError: matmul: inner sizes differ: [2, 3] f32 x [1, 2] f32 has 3 and 1
      hint: the last axis of the first must equal the second-last of the second"
  `);
});
