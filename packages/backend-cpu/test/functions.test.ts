import { Engine, type Tensor, tensor } from "@revnet-zero/tensor";
import { expectBitEqual } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { erf } from "../src/erf.ts";
import { CpuBackend, type TierName } from "../src/index.ts";
import { backendOf } from "./tier.fixture.ts";

// Errors in units of the last place of the float32 nearest to the true value, over every 997th float there is.

interface Measured {
  readonly name: string;
  readonly run: (x: Tensor) => Tensor;
  readonly exact: (x: number) => number;
  /** Most units in the last place, on every tier. */
  readonly bound: number;
  /** Inputs whose results are prescribed. */
  readonly specials: readonly (readonly [x: number, y: number])[];
}

const { POSITIVE_INFINITY: inf, NEGATIVE_INFINITY: minus, NaN: nan } = Number;

const functions: readonly Measured[] = [
  {
    name: "exp",
    run: (x) => x.exp(),
    exact: Math.exp,
    bound: 1.5,
    specials: [
      [inf, inf],
      [minus, 0],
      [0, 1],
      [-0, 1],
      [89, inf],
      [-104, 0],
      [nan, nan],
    ],
  },
  {
    name: "expm1",
    run: (x) => x.expm1(),
    exact: Math.expm1,
    bound: 2,
    specials: [
      [inf, inf],
      [minus, -1],
      [0, 0],
      [-0, -0],
      [1e-30, Math.fround(1e-30)],
      [nan, nan],
    ],
  },
  {
    name: "log",
    run: (x) => x.log(),
    exact: Math.log,
    bound: 1,
    specials: [
      [inf, inf],
      [0, minus],
      [-0, minus],
      [-1, nan],
      [minus, nan],
      [1, 0],
      [nan, nan],
    ],
  },
  {
    name: "log1p",
    run: (x) => x.log1p(),
    exact: Math.log1p,
    bound: 1.5,
    specials: [
      [inf, inf],
      [-1, minus],
      [-2, nan],
      [0, 0],
      [-0, -0],
      [nan, nan],
    ],
  },
  {
    name: "tanh",
    run: (x) => x.tanh(),
    exact: Math.tanh,
    bound: 1.5,
    specials: [
      [inf, 1],
      [minus, -1],
      [0, 0],
      [-0, -0],
      [20, 1],
      [nan, nan],
    ],
  },
  {
    name: "sin",
    run: (x) => x.sin(),
    exact: Math.sin,
    bound: 2,
    specials: [
      [inf, nan],
      [minus, nan],
      [0, 0],
      [-0, -0],
      [nan, nan],
      [16367173 * 2 ** 72, Math.fround(Math.sin(16367173 * 2 ** 72))], // of all floats, nearest to a multiple of pi/2
    ],
  },
  {
    name: "cos",
    run: (x) => x.cos(),
    exact: Math.cos,
    bound: 2,
    specials: [
      [inf, nan],
      [minus, nan],
      [0, 1],
      [-0, 1],
      [nan, nan],
      [16367173 * 2 ** 72, Math.fround(Math.cos(16367173 * 2 ** 72))],
    ],
  },
  {
    name: "sigmoid",
    run: (x) => x.sigmoid(),
    exact: (x) => 1 / (1 + Math.exp(-x)),
    bound: 2.5,
    specials: [
      [inf, 1],
      [minus, 0],
      [0, 0.5],
      [-0, 0.5],
      [nan, nan],
    ],
  },
  {
    name: "erf",
    run: (x) => x.erf(),
    exact: erf,
    bound: 8,
    specials: [
      [inf, 1],
      [minus, -1],
      [0, 0],
      [-0, -0],
      [6, 1],
      [nan, nan],
    ],
  },
];

/** Every 997th bit pattern that is a finite number. */
function everyMagnitude(): Float32Array {
  const found: number[] = [];
  const words = new Uint32Array(1);
  const [value] = [new Float32Array(words.buffer)];
  for (let bits = 0; bits < 2 ** 32; bits += 997) {
    words[0] = bits;
    if (Number.isFinite(value[0]!)) found.push(value[0]!);
  }
  return Float32Array.from(found);
}
const inputs = everyMagnitude();

/** The distance between float32 neighbours at a magnitude. */
function unitInLastPlace(x: number): number {
  const exponent = Math.floor(Math.log2(Math.max(Math.abs(x), 2 ** -126)));
  return 2 ** (exponent - 23);
}

const tiers: readonly TierName[] = ["wide", "relaxed", "simd"];

describe.each(functions)(
  "$name is within $bound units in the last place of the truth",
  ({ run, exact, bound, specials }) => {
    test.each(tiers)("on tier %s, for all magnitudes", (tier) => {
      const backend = backendOf(tier, { threads: 1 });
      if (backend === undefined) return;
      const engine = new Engine(backend);
      engine.scope(() => {
        const found = run(tensor(inputs, { engine })).dataSync();
        let [worst, at] = [0, 0];
        for (let i = 0; i < inputs.length; i++) {
          const wanted = exact(inputs[i]!);
          const nearest = Math.fround(wanted);
          if (Object.is(found[i], nearest)) continue;
          if (!Number.isFinite(nearest)) {
            // At the end of the range either neighbour will do.
            const isEnd = Math.abs(wanted) < 2 ** 128 && Math.abs(found[i]!) > 3.4e38;
            expect(isEnd, `${found[i]} for ${inputs[i]}`).toBe(true);
            continue;
          }
          const error = Math.abs(found[i]! - wanted) / unitInLastPlace(wanted);
          if (!(error <= worst)) [worst, at] = [error, inputs[i]!];
        }
        expect(worst, `worst at ${at}`).toBeLessThan(bound);
        const special = Float32Array.from(specials, ([x]) => x);
        expect(Array.from(run(tensor(special, { engine })).dataSync())).toEqual(specials.map(([, y]) => y));
      });
    });
  },
);

test.each(functions)("$name of a number does not depend on its neighbours", ({ run }) => {
  const engine = new Engine(new CpuBackend({ threads: 1 }));
  engine.scope(() => {
    // All magnitudes beside each other, in runs that end in every place of a vector.
    const mixed = Float32Array.from({ length: 300 }, (_, i) => inputs[(i * 7919 * 4001) % inputs.length]!);
    const together = run(tensor(mixed, { engine })).dataSync();
    const alone = Float32Array.from(mixed, (x) => run(tensor([x], { engine })).dataSync()[0] as number);
    expectBitEqual(together, alone, "together");
    for (let length = 1; length < 40; length++)
      expectBitEqual(run(tensor(mixed.slice(0, length), { engine })).dataSync(), alone.slice(0, length), `${length}`);
  });
});
