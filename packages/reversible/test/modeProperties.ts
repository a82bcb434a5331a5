import { expectNoLeak, type HostData, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import { expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, test } from "vitest";
import { type ReversibleMode, storedTwin } from "../src/index.ts";
import {
  buildCoupled,
  type Coupled,
  type CoupledRecipe,
  contextOf,
  coupledGradients,
  coupledRecipes,
  plansOf,
  valuesOf,
  withCoupled,
} from "./coupled.ts";
import { exactCouplings, floatCouplings } from "./couplings.ts";
import { expectSameGradients, newEngine } from "./fixtures.ts";

/** Modes that promise bits, with the couplings they are exact for. */
export const promising: readonly { readonly mode: ReversibleMode; readonly couplings: readonly string[] }[] = [
  { mode: "exact", couplings: Object.keys(floatCouplings) },
  { mode: "exact16", couplings: [...Object.keys(exactCouplings), ...Object.keys(floatCouplings)] },
  { mode: "grid-f32", couplings: Object.keys(exactCouplings) },
  { mode: "lossless", couplings: [...Object.keys(exactCouplings), ...Object.keys(floatCouplings)] },
];

/** Recipes that a mode can run: grids and exact factors need streams that stay in range. */
export function recipesOf(mode: ReversibleMode, couplings: readonly string[]): fc.Arbitrary<CoupledRecipe> {
  const points = { exact: [20, 12, "auto"], exact16: [8, 3, "auto"], "grid-f32": [10, 6, "auto"] } as const;
  const own = points[mode as keyof typeof points] ?? [20];
  return fc
    .tuple(coupledRecipes({ couplings, mostDepth: 5 }), fc.constantFrom(...own))
    .map(([recipe, fractionBits]) => {
      const staysInRange = mode === "grid-f32" || (mode !== "lossless" && recipe.coupling in floatCouplings);
      return {
        ...recipe,
        fractionBits,
        ...(staysInRange ? { values: "plain" as const, gain: Math.min(recipe.gain, 1) } : {}),
        // A range cannot be measured of numbers without end.
        ...(fractionBits === "auto" ? { values: "plain" as const } : {}),
      };
    });
}

/** Runs a check; a case whose streams leave their range, which is an error, is no case. */
export function inRange(f: () => void): void {
  try {
    f();
  } catch (error) {
    fc.pre(!/left ±2\^|takes a stream to/.test(String(error)));
    throw error;
  }
}

/** Throws unless the inverse of a pass gives the streams that went in, bit for bit. */
export function expectInverse({ engine, recipe, sequence, ...rest }: Coupled): void {
  expectNoLeak(engine, () =>
    engine.scope(() => {
      const context = contextOf({ engine, recipe, sequence, ...rest });
      const make = (i: number): Tensor => tensor(valuesOf(recipe, i), { shape: recipe.shape, engine });
      const [first, ...others] = Array.from({ length: sequence.numStreams }, (_, i) => make(i)) as [
        Tensor,
        ...Tensor[],
      ];
      engine.withKey(randomKey(recipe.seed), () => {
        // The first pass may measure the range.
        engine.noGrad(() => sequence.call(first, ...others, context));
        const [x, ...xs] = [first, ...others].map((s) => sequence.enter(s)) as [Tensor, ...Tensor[]];
        const before = [x, ...xs].map((s) => s.dataSync().slice());
        const pass = sequence.invertible(x, ...xs, context);
        pass.inverse().forEach((s, i) => {
          expectBitEqual(s.dataSync(), before[i] as HostData, `stream ${i}`);
        });
      });
    }),
  );
}

/** What every mode that promises bits must keep, on `numRuns` random cases each. */
export function modeProperties(numRuns: number): void {
  const engine = newEngine();
  describe.each(promising)("mode $mode", ({ mode, couplings }) => {
    test("P1: the inverse of a pass gives its streams, bit for bit", () => {
      fc.assert(
        fc.property(recipesOf(mode, couplings), (recipe) =>
          withCoupled(buildCoupled(recipe, engine), (subject) => {
            subject.sequence.mode = mode;
            inRange(() => expectInverse(subject));
          }),
        ),
        runs(numRuns),
      );
    });

    test("P2: gradients have the bits of stored backpropagation, with any plan", () => {
      const cases = recipesOf(mode, couplings).chain((recipe) =>
        fc.tuple(fc.constant(recipe), fc.option(plansOf(recipe.depth), { nil: undefined })),
      );
      fc.assert(
        fc.property(cases, ([recipe, plan]) =>
          withCoupled(buildCoupled(recipe, engine), (subject) =>
            inRange(() => {
              const stored = coupledGradients(subject, storedTwin(mode));
              expectSameGradients(coupledGradients(subject, mode, { plan }), stored, `${mode}, plan ${plan}`);
            }),
          ),
        ),
        runs(numRuns),
      );
    });
  });
}
