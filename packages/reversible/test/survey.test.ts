import { type Tensor, tensor } from "@revnet-zero/tensor";
import { expectClose, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  affine,
  checkReversible,
  midpoint,
  type ReversibleMode,
  ReversibleSequence,
  reversibleProperty,
  userDefined,
} from "../src/index.ts";
import { buildCoupled, coupledRecipes } from "./coupled.ts";
import { floatCouplings } from "./couplings.ts";
import { newEngine } from "./fixtures.ts";

const engine = newEngine();
const f = (x: Tensor): Tensor => x.sin();
const g = (x: Tensor): Tensor => x.mul(0.5).tanh();

describe("a survey", () => {
  test("of any exact coupling finds everything bit-equal, and a log-determinant of zero", async () => {
    await fc.assert(
      fc.asyncProperty(coupledRecipes({ mostDepth: 3 }), async (recipe) => {
        fc.pre(recipe.sort !== "context");
        const { sequence, ...subject } = buildCoupled({ ...recipe, dropout: 0.3 }, engine);
        try {
          const survey = await checkReversible(sequence, { shape: [2, recipe.shape.at(-1)!], seed: recipe.seed });
          expect(survey.firstDifference).toBeUndefined();
          expect(survey.isExact).toBe(true);
          expect(survey.cases.map((c) => c.kind)).toContain("any words");
          if (recipe.gain < 6) expect(survey.logDeterminantError).toBeLessThan(1e-3);
        } finally {
          sequence.dispose();
          subject.source.dispose();
        }
      }),
      runs(15),
    );
  });

  test("of a float mode measures: in units in the last place, and relative", async () => {
    const sequence = new ReversibleSequence({ blocks: [midpoint({ f, stepSize: 0.1 })], mode: "float", engine });
    const survey = await checkReversible(sequence, { shape: [3, 4] });
    expect(survey.isExact).toBe(false);
    expect(survey.reconstructionUlpError).toBeGreaterThanOrEqual(1);
    expect(survey.reconstructionRelativeError).toBeGreaterThan(0);
    expect(survey.gradientRelativeError).toBeLessThan(1e-5);
    expect(String(survey)).toMatch(
      /^mode float: not exact on 12 drawn inputs\n {2}reconstruction: relative error up to .*, \d+ units in the last place\n/,
    );
    sequence.dispose();
  });

  test("finds a wrong log-determinant", async () => {
    const make = (factor: number): ReversibleSequence =>
      new ReversibleSequence({
        blocks: [
          userDefined({
            forward: (a: Tensor, b: Tensor) => [b, a.mul(2)],
            inverse: (a: Tensor, b: Tensor) => [b.div(2), a],
            logDeterminant: (a: Tensor) => a.mul(0).add(factor).sum(-1),
          }),
        ],
        mode: "float",
        engine,
      });
    const errorOf = async (factor: number) =>
      (await checkReversible(make(factor), { shape: [2, 3] })).logDeterminantError;
    expect(await errorOf(Math.log(2))).toBeLessThan(1e-5);
    expectClose([(await errorOf(1))!], { exact: [3 * (1 - Math.log(2))], dtype: "f32", scale: 3 });
  });

  test("of a map without a log-determinant has none, and asking the sequence is an error", async () => {
    const block = userDefined({ forward: (...x: Tensor[]) => x, inverse: (...x: Tensor[]) => x });
    const sequence = new ReversibleSequence({ blocks: [block], mode: "float", engine });
    const survey = await checkReversible(sequence, { shape: [2, 3] });
    expect(survey.logDeterminantError).toBeUndefined();
    expect(survey.isExact).toBe(true);
    const x = tensor([1], { dtype: "f32", engine });
    expect(() => sequence.transform(x, x)).toThrow("the log-determinant of the custom map of block 0 is not known");
  });

  test("leaves parameters, buffers, mode and plan as they were", async () => {
    const mode: ReversibleMode = "exact";
    const plan = { blocks: ["checkpoint"] as const };
    const sequence = new ReversibleSequence({ blocks: [{ F: f, G: g }], mode, plan, engine });
    await checkReversible(sequence, { shape: [2, 2] });
    expect([sequence.mode, sequence.plan]).toEqual([mode, plan]);
    sequence.dispose();
  });

  test("says what it found, in words", async () => {
    const sequence = new ReversibleSequence({ blocks: [{ F: f, G: g }], engine });
    expect(`${await checkReversible(sequence, { shape: [2, 2] })}`).toMatchInlineSnapshot(`
      "mode exact: exact on 12 drawn inputs
        reconstruction: bit-equal
        gradients: bit-equal
        log-determinant: off by 3.4e-8"
    `);
    let calls = 0;
    const moody = (x: Tensor): Tensor => x.mul(calls++);
    const bad = new ReversibleSequence({ blocks: [{ F: moody, G: g }], engine });
    expect(`${await checkReversible(bad, { shape: [2, 2], runs: 1 })}`).toMatchInlineSnapshot(`
      "mode exact: not exact on 1 drawn inputs
        reconstruction: relative error up to 8.1e-1, 1834971 units in the last place
        gradients: relative error up to 1.9e-1
        log-determinant: off by 8.2e-4
        first difference: ordinary inputs: stream 0[0] is 3289400, expected 1454429"
    `);
    for (const s of [sequence, bad]) s.dispose();
  });
});

describe("the property", () => {
  test("holds for a sequence that is exact, within its error for one that is not, and fails for one that is wrong", async () => {
    const exact = new ReversibleSequence({ blocks: [midpoint({ f })], engine });
    await fc.assert(reversibleProperty(fc, exact, { shape: [2, 3] }), runs(5));
    const float = new ReversibleSequence({
      blocks: [affine({ F: (x) => x.concat([x], -1), G: (x) => x.concat([x], -1) })],
      mode: "float",
      engine,
    });
    const failure = async (sequence: ReversibleSequence): Promise<string> => {
      const details = await fc.check(reversibleProperty(fc, sequence, { shape: [2, 3] }), runs(5));
      return String(details.errorInstance);
    };
    expect(await failure(float)).toContain("mode float: not exact on 6 drawn inputs");
    let calls = 0;
    const moody = new ReversibleSequence({ blocks: [{ F: (x) => x.add(calls++), G: g }], engine });
    expect(await failure(moody)).toContain("ordinary inputs: stream 0[0] is");
    for (const s of [exact, float, moody]) s.dispose();
  });

  test("of float couplings holds within 1e-3 where streams stay of order one", async () => {
    for (const coupling of Object.keys(floatCouplings)) {
      const recipe = {
        coupling,
        sort: "f32",
        shape: [2, 3],
        depth: 2,
        gain: 0.1,
        dropout: 0,
        values: "plain",
        fractionBits: 20,
        seed: 1,
      } as const;
      const { sequence, source } = buildCoupled(recipe, engine);
      sequence.mode = "float";
      await fc.assert(reversibleProperty(fc, sequence, { shape: [2, 3], largestError: 1e-3 }), runs(10));
      sequence.dispose();
      source.dispose();
    }
  });
});
