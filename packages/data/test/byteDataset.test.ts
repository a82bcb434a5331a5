import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ByteDataset } from "../src/byteDataset.ts";
import { decodeBytes, encodeBytes } from "../src/byteTokens.ts";
import { DataError } from "../src/dataError.ts";

/** Sizes that fit together: both parts hold at least one sequence and its next byte. */
const setups = fc
  .record({
    batchSize: fc.integer({ min: 1, max: 5 }),
    sequenceLength: fc.integer({ min: 1, max: 20 }),
    seed: fc.maxSafeNat(),
    extra: fc.integer({ min: 0, max: 300 }),
  })
  .map(({ extra, ...options }) => ({ options, length: 12 * (options.sequenceLength + 1) + extra }));
const steps = fc.nat({ max: 2 ** 32 - 1 });

/** Every byte differs from its neighbours' in a way that tells its place: position i holds i mod 251. */
const ramp = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i % 251);

describe("batchAt", () => {
  test("is a pure function of seed, step and micro-step", () => {
    fc.assert(
      fc.property(setups, steps, steps, ({ options, length }, step, microStep) => {
        const one = new ByteDataset(ramp(length), options);
        const other = new ByteDataset(ramp(length), options);
        other.batchAt(3); // calls in between change nothing
        expect(other.batchAt(step, microStep)).toEqual(one.batchAt(step, microStep));
      }),
    );
  });

  test("gives rows of consecutive training bytes, targets one byte ahead", () => {
    fc.assert(
      fc.property(setups, steps, ({ options, length }, step) => {
        const data = new ByteDataset(ramp(length), options);
        const { inputs, targets, batchSize, sequenceLength } = data.batchAt(step);
        expect([inputs.length, targets.length]).toEqual(Array(2).fill(batchSize * sequenceLength));
        for (let row = 0; row < batchSize; row++) {
          const start = row * sequenceLength;
          expect(targets.subarray(start, start + sequenceLength - 1)).toEqual(
            inputs.subarray(start + 1, start + sequenceLength),
          );
          const window = [inputs[start]!, ...targets.subarray(start, start + sequenceLength)];
          expect(Buffer.from(data.train).indexOf(Buffer.from(window))).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });

  test("draws every place about equally often (chi-square over 32 places, 4 standard deviations)", () => {
    const data = new ByteDataset(ramp(36), { batchSize: 64, sequenceLength: 4, seed: 7, heldOutFraction: 0 });
    const counts = new Array(32).fill(0);
    const draws = 64 * 200;
    for (let step = 0; step < 200; step++) {
      const { inputs } = data.batchAt(step);
      for (let row = 0; row < 64; row++) counts[inputs[row * 4]!]++;
    }
    const expected = draws / 32;
    const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(Math.abs(chiSquare - 31)).toBeLessThan(4 * Math.sqrt(2 * 31));
  });

  test("differs between steps, micro-steps and seeds", () => {
    const text = ramp(100_000);
    const at = (seed: number, step: number, micro: number) =>
      new ByteDataset(text, { batchSize: 4, sequenceLength: 64, seed }).batchAt(step, micro).inputs.join();
    const batches = [at(1, 0, 0), at(1, 1, 0), at(1, 0, 1), at(2, 0, 0), at(1 + 2 ** 32, 0, 0)];
    expect(new Set(batches).size).toBe(batches.length);
  });
});

describe("the held-out part", () => {
  test("and the training part are the text, cut once", () => {
    fc.assert(
      fc.property(setups, ({ options, length }) => {
        const text = ramp(length);
        const { train, heldOut } = new ByteDataset(text, options);
        expect(Uint8Array.from([...train, ...heldOut])).toEqual(text);
        expect(Math.abs(heldOut.length - 0.1 * length)).toBeLessThanOrEqual(0.5);
      }),
    );
  });

  test("is predicted in order, each byte at most once, less than a sequence left over", () => {
    fc.assert(
      fc.property(setups, ({ options, length }) => {
        const data = new ByteDataset(ramp(length), options);
        const batches = [...data.heldOutBatches()];
        const targets = batches.flatMap((batch) => [...batch.targets]);
        const inputs = batches.flatMap((batch) => [...batch.inputs]);
        expect(targets).toEqual([...data.heldOut.subarray(1, 1 + targets.length)]);
        expect(inputs).toEqual([...data.heldOut.subarray(0, targets.length)]);
        expect(data.heldOut.length - 1 - targets.length).toBeLessThan(options.sequenceLength);
        expect(targets.length).toBe(data.heldOutWindows * options.sequenceLength);
        expect([...data.heldOutBatches(1)]).toEqual(batches.slice(0, 1));
      }),
    );
  });

  test("may be empty", () => {
    const data = new ByteDataset(ramp(50), { batchSize: 1, sequenceLength: 4, seed: 0, heldOutFraction: 0 });
    expect([...data.heldOutBatches()]).toEqual([]);
    expect(data.train.length).toBe(50);
  });
});

describe("errors", () => {
  const make = (options: object, length = 100) =>
    new ByteDataset(ramp(length), { batchSize: 2, sequenceLength: 4, seed: 0, ...options });

  test.for([
    [{ batchSize: 0 }, /batchSize is 0/],
    [{ sequenceLength: 1.5 }, /sequenceLength is 1.5/],
    [{ seed: -1 }, /seed is -1/],
    [{ heldOutFraction: 1 }, /heldOutFraction is 1/],
    [{ heldOutFraction: Number.NaN }, /heldOutFraction is NaN/],
    [{ sequenceLength: 90 }, /training part has 90 bytes, and a sequence needs 91.*hint:.*at most 89/s],
    [{ sequenceLength: 50 }, /held-out part has 10 bytes, and a sequence needs 51/],
  ] as const)("%o is refused", ([options, message]) => {
    expect(() => make(options)).toThrow(DataError);
    expect(() => make(options)).toThrow(message);
  });

  test("a step that is no whole number is refused", () => {
    expect(() => make({}).batchAt(0.5)).toThrow(/step is 0.5/);
  });
});

test("text goes through bytes and back; bytes that are no text still give one", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      expect(decodeBytes(encodeBytes(text))).toBe(text);
    }),
  );
  expect(decodeBytes([65, 0xff, 66])).toBe("A\ufffdB");
});
