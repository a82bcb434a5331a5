import { CpuBackend, ReferenceBackend } from "@revnet-zero/backend-cpu";
import { Engine, ones, type Tensor, tensor } from "@revnet-zero/tensor";
import { drawValues, expectBitEqual, expectClose, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkReversible, type ReversibleBlock, ReversibleSequence, type StepHealth } from "../src/index.ts";
import { newEngine } from "./fixtures.ts";

/** Adds the increments of one half-step in whole numbers without bounds, counts, and wraps the stream. */
function addByHand(stream: Int32Array, increments: Float64Array, fractionBits: number): Omit<StepHealth, "step"> {
  let [saturated, wrapped, nan] = [0, 0, 0];
  increments.forEach((f, i) => {
    const scaled = f * 2 ** fractionBits; // exact: a power of two
    if (Number.isNaN(scaled)) {
      nan++;
      return;
    }
    const clipped = Math.min(Math.max(scaled, -(2 ** 31)), 2 ** 31 - 1);
    const below = Math.floor(clipped);
    const isUp = clipped - below > 0.5 || (clipped - below === 0.5 && below % 2 !== 0);
    const rounded = below + (isUp ? 1 : 0);
    if (Math.abs(scaled - rounded) > 0.5) saturated++;
    const sum = BigInt(stream[i]!) + BigInt(rounded);
    stream[i] = Number(BigInt.asIntN(32, sum));
    if (BigInt(stream[i]!) !== sum) wrapped++;
  });
  return { saturated, wrapped, nan };
}

const size = 12;

/** Streams and increments of every half-step; about half of the increments lie near the ends of the range. */
const cases = fc
  .record({ seed: fc.nat(), fractionBits: fc.nat({ max: 30 }), depth: fc.integer({ min: 1, max: 4 }) })
  .map(({ seed, fractionBits, depth }) => {
    const random = new Random(seed);
    const near = 2 ** (31 - fractionBits);
    const words = (): Int32Array =>
      Int32Array.from({ length: size }, () => random.integer(-(2 ** 31), 2 ** 31 - 1) >> random.integer(0, 8));
    const increments = Array.from({ length: 2 * depth }, () =>
      drawValues(random, size, "f32", "extreme").map((v) =>
        random.unit() < 0.5 ? v : Math.fround(near * random.between(-1.2, 1.2)),
      ),
    );
    return { fractionBits, depth, streams: [words(), words()] as const, increments };
  });

/** A sequence whose half-step `i` adds `constants[i]` whatever the streams are. */
function constantSequence(engine: Engine, constants: readonly Tensor[], fractionBits: number): ReversibleSequence {
  const blocks = Array.from({ length: constants.length / 2 }, (_, i) => ({
    F: () => constants[2 * i]!.clone(),
    G: () => constants[2 * i + 1]!.clone(),
  }));
  return new ReversibleSequence({ blocks, fractionBits, engine });
}

describe.each([
  ["CPU", new Engine(new CpuBackend())],
  ["reference", new Engine(new ReferenceBackend())],
])("health on the %s backend", (_, engine) => {
  test("counts what whole numbers without bounds count, half-step by half-step", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ fractionBits, streams, increments }) => {
        const scope = engine.openScope();
        const [x1, x2] = streams.map((w) => tensor(w, { engine })) as [Tensor, Tensor];
        const constants = increments.map((f) => tensor(f, { dtype: "f32", engine }));
        const sequence = constantSequence(engine, constants, fractionBits);
        const outputs = sequence.call(x1, x2);

        const byHand = streams.map((w) => w.slice());
        const counted = increments.map((f, step) => ({ step, ...addByHand(byHand[step % 2]!, f, fractionBits) }));
        const total = (name: "saturated" | "wrapped" | "nan"): number => counted.reduce((n, s) => n + s[name], 0);
        expect(await sequence.health()).toEqual({
          saturated: total("saturated"),
          wrapped: total("wrapped"),
          nan: total("nan"),
          steps: counted.filter((s) => s.saturated + s.wrapped + s.nan > 0),
        });
        outputs.forEach((y, i) => {
          expectBitEqual(y.dataSync(), byHand[i]!, `stream ${i}`);
        });
        sequence.dispose();
        scope.close();
      }),
      runs(60),
    );
  });

  test("is of the last forward pass alone, before and after backward, and empty before the first", async () => {
    const scope = engine.openScope();
    const scale = ones([3], { engine });
    const branch = (x: Tensor): Tensor => x.mul(scale);
    const sequence = new ReversibleSequence({ blocks: [{ F: branch, G: branch }], engine });
    const empty = { saturated: 0, wrapped: 0, nan: 0, steps: [] };
    expect(await sequence.health()).toEqual(empty);

    scale.assign(tensor([1e6, Number.NaN, 1], { engine }));
    const x = ones([3], { engine }).requireGrad();
    const y = sequence.call(x, x)[0]!;
    // Both increments saturate; only 2^31 - 1 plus a positive stream wraps.
    const found = {
      saturated: 2,
      wrapped: 1,
      nan: 2,
      steps: [
        { step: 0, saturated: 1, wrapped: 1, nan: 1 },
        { step: 1, saturated: 1, wrapped: 0, nan: 1 },
      ],
    };
    expect(await sequence.health()).toEqual(found);
    y.sum().backward();
    expect(await sequence.health()).toEqual(found);

    scale.assign(ones([3], { engine }));
    engine.noGrad(() => sequence.call(x, x));
    expect(await sequence.health()).toEqual(empty);
    x.dispose();
    sequence.dispose();
    scope.close();
  });
});

describe("drift of mode float", () => {
  const engine = newEngine();
  const slope = 0.1;
  const block: ReversibleBlock = { F: (x) => x.sin().mul(slope), G: (x) => x.cos().mul(slope) };

  /** Streams of numbers between 1 and 2 in size. */
  function inputs(seed: number, elements: number): [Tensor, Tensor] {
    const random = new Random(seed);
    const draw = (): Tensor =>
      tensor(
        Float32Array.from({ length: elements }, () => random.between(1, 2) * random.pick([-1, 1])),
        { engine },
      );
    return [draw(), draw()];
  }

  async function driftOf(depth: number, seed: number, elements: number, on: ReversibleBlock = block): Promise<number> {
    const scope = engine.openScope();
    const blocks = new Array<ReversibleBlock>(depth).fill(on);
    const sequence = new ReversibleSequence({ blocks, mode: "float", engine });
    expect(await sequence.drift()).toBeNaN();
    const xs = inputs(seed, elements).map((x) => x.requireGrad()) as [Tensor, Tensor];
    const y = sequence.call(...xs)[0]!;
    expect(await sequence.drift()).toBeNaN();
    y.sum().backward();
    const drift = await sequence.drift();
    for (const x of xs) x.dispose();
    sequence.dispose();
    scope.close();
    return drift;
  }

  test("is NaN until backward, then between zero and what rounding explains", async () => {
    // Of a few elements all may come back by chance; of a hundred some do not.
    const elements = fc.constantFrom(100, 256, 700);
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 2, max: 12 }), elements, async (seed, depth, n) => {
        const steps = 2 * depth;
        // A half-step back errs by at most slope times the source's error, and by four roundings of numbers below
        // 2 + slope · steps. The inputs are no smaller than 1, so that an absolute error is a relative one.
        const rounding = 4 * 2 ** -24 * (2 + slope * steps);
        const bound = (((1 + slope) ** steps - 1) / slope) * rounding;
        const drift = await driftOf(depth, seed, n);
        expect(drift).toBeGreaterThan(0);
        expect(drift).toBeLessThan(bound);
      }),
      runs(20),
    );
  });

  test("grows with depth", async () => {
    const drifts = [];
    for (const depth of [1, 8, 64]) drifts.push(await driftOf(depth, 1, 256));
    const [shallow, middle, deep] = drifts as [number, number, number];
    expect(middle).toBeGreaterThan(shallow);
    expect(deep).toBeGreaterThan(middle);
  });

  test("is zero where branches add nothing", async () => {
    const nothing = (x: Tensor): Tensor => x.zerosLike();
    expect(await driftOf(4, 1, 300, { F: nothing, G: nothing })).toBe(0);
  });

  test("of small streams is the error that checkReversible finds, within f32 rounding of its sums", async () => {
    const scope = engine.openScope();
    const sequence = new ReversibleSequence({ blocks: new Array(8).fill(block), mode: "float", engine });
    const [n, steps] = [64, 16];
    const report = await checkReversible(sequence, inputs(3, n), [ones([n], { engine }), ones([n], { engine })]);
    const exact = [report.reconstructionRelativeError];
    expectClose([await sequence.drift()], { exact, dtype: "f32", factor: n });
    expect(report).toMatchObject({ reconstructionBitEqual: false, gradientsBitEqual: false });
    // Each half-step's derivative is taken at most that far off, and errs by slope times it; the rest amplify.
    const bound = steps * slope * (1 + slope) ** steps * report.reconstructionRelativeError;
    expect(report.gradientRelativeError).toBeGreaterThan(0);
    expect(report.gradientRelativeError).toBeLessThan(bound);
    sequence.dispose();
    scope.close();
  });

  test("is not measured in mode exact", async () => {
    const scope = engine.openScope();
    const sequence = new ReversibleSequence({ blocks: [block], engine });
    const x = ones([4], { engine }).requireGrad();
    sequence.call(x, x)[0]!.sum().backward();
    expect(await sequence.drift()).toBeNaN();
    x.dispose();
    sequence.dispose();
    scope.close();
  });
});
