import { type reversibleModes, storedTwin } from "@revnet-zero/reversible";
import { ones } from "@revnet-zero/tensor";
import { errorText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { estimateProgram, largestThatFits, type StepProgram, type StepSizes, searchLargest } from "../src/index.ts";
import { backend, estimateIsThePeak, measured, sizes } from "./memoryProperties.ts";
import { programOf, subjects } from "./programs.ts";

describe("the estimate of a program", () => {
  test.each(Object.keys(subjects))("is the peak of a step of the %s, to the byte", (name) => {
    const options = fc.record({
      optimizer: fc.nat(3),
      clips: fc.boolean(),
      batch: fc.integer({ min: 1, max: 3 }),
      depth: fc.integer({ min: 1, max: 3 }),
    });
    fc.assert(
      fc.property(options, ({ batch, depth, ...rest }) => {
        const program = programOf(subjects[name]!, { ...sizes, batch, depth }, rest);
        const estimate = estimateProgram(program, { like: backend });
        const { peakBytes, atPeak, activationBytes, live } = measured(program);
        expect(estimate).toMatchObject({ peakBytes, atPeak, activationBytes, assumptions: [] });
        expect(estimate.parameterBytes).toBe(live.parameters);
        expect(estimate.optimizerBytes).toBe(live.optimizer);
        expect(estimate.gradientBytes).toBeGreaterThanOrEqual(atPeak.gradients);
        expect(estimate.gradientBytes).toBeLessThanOrEqual(live.parameters);
      }),
      runs(4),
    );
  });

  test("is the peak in every mode and under any plan", () => {
    fc.assert(estimateIsThePeak(), runs(30));
  });

  test.each(["reversible transformer", "reversible vision transformer", "reversible ResNet", "encoder-decoder"])(
    "of a lossless %s says what it took for granted, since values decide, and is within a hundredth",
    (name) => {
      const program = programOf(subjects[name]!, { batch: 8, sequence: 16, depth: 4 }, { mode: "lossless" });
      const { peakBytes, assumptions } = estimateProgram(program, { like: backend });
      expect(assumptions).toEqual(["one rebuilt element of 256 is off by more than one unit in the last place"]);
      expect(Math.abs(peakBytes / measured(program).peakBytes - 1)).toBeLessThan(0.01);
    },
  );

  test("of a program that reads values is refused", () => {
    const reading: StepProgram = (engine) => () => ones([2], { engine }).sum().itemSync();
    expect(errorText(() => estimateProgram(reading, { like: backend }))).toMatchInlineSnapshot(`
      "BackendError: estimate: the program reads a value
        hint: leave item(), data() and await out of the step: it computes nothing here, and what is read does not change its memory"
    `);
    const waiting: StepProgram = (engine) => async () => ones([2], { engine }).sum().item();
    expect(errorText(() => estimateProgram(waiting, { like: backend }))).toMatchInlineSnapshot(`
      "BackendError: estimate: the program is asynchronous
        hint: leave item(), data() and await out of the step: it computes nothing here, and what is read does not change its memory"
    `);
    const failing: StepProgram = () => () => {
      throw new RangeError("its own");
    };
    expect(() => estimateProgram(failing, { like: backend })).toThrow(RangeError);
  });
});

describe("the largest that fits", () => {
  test("fits, and the next does not", () => {
    const cases = fc.record({
      vary: fc.constantFrom("batch", "sequence", "depth"),
      budget: fc.integer({ min: 20_000, max: 400_000 }),
      name: fc.constantFrom("reversible transformer", "transformer"),
    } as const);
    fc.assert(
      fc.property(cases, ({ vary, budget, name }) => {
        const program = (given: StepSizes) => programOf(subjects[name]!, given);
        const fit = largestThatFits({ vary, budget, sizes, program, like: backend });
        const peakOf = (value: number) =>
          estimateProgram(program({ ...sizes, [vary]: value }), { like: backend }).peakBytes;
        if (fit.largest === undefined) expect(peakOf(1)).toBeGreaterThan(budget);
        else {
          expect(fit.largest.peakBytes).toBe(peakOf(fit.largest.value));
          expect(fit.largest.peakBytes).toBeLessThanOrEqual(budget);
          expect(fit.smallestTooLarge).toEqual({
            value: fit.largest.value + 1,
            peakBytes: peakOf(fit.largest.value + 1),
          });
          expect(fit.smallestTooLarge!.peakBytes).toBeGreaterThan(budget);
        }
        expect(fit.isMonotone).toBe(true);
      }),
      runs(6),
    );
  });

  test("is what a search one by one finds, for every monotone course of peaks", () => {
    const cases = fc.record({
      rises: fc.array(fc.nat(5), { minLength: 1, maxLength: 40 }),
      budget: fc.nat(100),
      from: fc.integer({ min: 1, max: 8 }),
      multipleOf: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(cases, ({ rises, budget, from, multipleOf }) => {
        const upTo = rises.length;
        fc.pre(Math.ceil(from / multipleOf) * multipleOf <= upTo);
        const peakOf = (n: number): number => rises.slice(0, n).reduce((a, b) => a + b, 0);
        const { largest, smallestTooLarge, isMonotone } = searchLargest(peakOf, { budget, from, upTo, multipleOf });
        const all = rises.map((_, i) => i + 1).filter((n) => n >= from && n % multipleOf === 0);
        expect(largest?.value).toBe(all.findLast((n) => peakOf(n) <= budget));
        expect(smallestTooLarge?.value).toBe(all.find((n) => peakOf(n) > budget));
        expect(isMonotone).toBe(true);
      }),
    );
  });

  test("tells of peaks that fall again", () => {
    const peaks = [1, 2, 9, 3, 4, 5, 6, 7];
    const { isMonotone, probes } = searchLargest((n) => peaks[n - 1]!, { budget: 8, upTo: 8 });
    expect(probes.length).toBeGreaterThan(3);
    expect(isMonotone).toBe(true);
    const falling = searchLargest((n) => 10 - n, { budget: 100, upTo: 8 });
    expect(falling).toMatchObject({ isMonotone: false, largest: { value: 8 }, smallestTooLarge: undefined });
  });

  test("is refused with sizes that are none", () => {
    const fail = (given: object) => errorText(() => searchLargest(() => 1, { budget: 1, ...given }));
    expect(fail({ from: 0 })).toMatchInlineSnapshot(`
      "ValueError: largestThatFits: there is no multiple of 1 from 0 to 65536
        hint: use whole numbers from 1, with from <= upTo"
    `);
    expect(fail({ from: 5, upTo: 6, multipleOf: 4 })).toMatchInlineSnapshot(`
      "ValueError: largestThatFits: there is no multiple of 4 from 5 to 6
        hint: use whole numbers from 1, with from <= upTo"
    `);
    expect(fail({ budget: Number.NaN })).toMatchInlineSnapshot(`
      "ValueError: largestThatFits: the budget is NaN bytes
        hint: use a number from 0"
    `);
  });
});

test("stored twins are estimated as what they are", () => {
  const of = (mode: (typeof reversibleModes)[number]) =>
    estimateProgram(programOf(subjects["reversible transformer"]!, { ...sizes, depth: 12 }, { mode }), {
      like: backend,
    });
  expect(of("exact").activationBytes).toBeLessThan(of(storedTwin("exact")).activationBytes / 2);
});
