import { expectNoLeak, type HostData, randomKey, type Tensor } from "@revnet-zero/tensor";
import { expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { allKinds } from "./branches.ts";
import {
  build,
  expectSameGradients,
  gradientsOf,
  newEngine,
  recipes,
  streamsOf,
  withSubject,
  wordsOf,
} from "./fixtures.ts";

const engine = newEngine();

describe("inverse(forward(x)) has the bits of x", () => {
  test("for any branches, depth, point and 32-bit words", () => {
    fc.assert(
      fc.property(recipes(), (recipe) =>
        withSubject(build(recipe, engine), ({ sequence, refresh }) =>
          expectNoLeak(engine, () =>
            engine.scope(() => {
              refresh();
              const streams = wordsOf(recipe, engine);
              const before = streams.map((x) => x.dataSync().slice());
              const keyed = <T>(f: () => T): T => engine.withKey(randomKey(recipe.seed), () => engine.noGrad(f));
              const [y1, y2] = keyed(() => sequence.call(...streams)) as [Tensor, Tensor];
              const back = keyed(() => sequence.inverse(y1, y2));
              back.forEach((x, i) => {
                expectBitEqual(x.dataSync(), before[i] as HostData, `stream ${i}`);
              });
            }),
          ),
        ),
      ),
      runs(100),
    );
  });

  test("taken to the grid, when x is a float tensor", () => {
    // Up to 8 bits before the point and 12 after: f32 holds every value of the grid.
    const arbitrary = recipes({ from: ["mlp", "own", "plain", "captured", "dropout", "identity"] }).map((r) => ({
      ...r,
      fractionBits: 12,
      values: "plain" as const,
      blocks: r.blocks.slice(0, 2),
    }));
    fc.assert(
      fc.property(arbitrary, (recipe) =>
        withSubject(build(recipe, engine), ({ sequence }) =>
          expectNoLeak(engine, () =>
            engine.scope(() => {
              const streams = streamsOf(recipe, engine);
              const keyed = <T>(f: () => T): T => engine.withKey(randomKey(recipe.seed), () => engine.noGrad(f));
              const [y1, y2] = keyed(() => sequence.call(...streams)) as [Tensor, Tensor];
              // Sums that f32 cannot hold to the last bit would be another stream.
              fc.pre([y1, y2].every((y) => y.abs().max().dataSync()[0]! < 2 ** 12));
              const back = keyed(() => sequence.inverse(y1, y2));
              back.forEach((x, i) => {
                expectBitEqual(x.dataSync(), streams[i]!.quantise(12).dequantise(12).dataSync(), `stream ${i}`);
              });
            }),
          ),
        ),
      ),
      runs(50),
    );
  });
});

describe("gradients have the bits of stored backpropagation", () => {
  test("for any branches, shapes and values, in modes exact and checkpoint", () => {
    fc.assert(
      fc.property(recipes(), (recipe) =>
        withSubject(build(recipe, engine), (subject) => {
          const stored = gradientsOf(subject, "store");
          expectSameGradients(gradientsOf(subject, "exact"), stored, "exact");
          expectSameGradients(gradientsOf(subject, "checkpoint"), stored, "checkpoint");
        }),
      ),
      runs(100),
    );
  });
  test.each(allKinds)("for branches of sort %s", (kind) => {
    for (const values of ["plain", "extreme"] as const) {
      const recipe = {
        shape: [2, 3, 4],
        fractionBits: 20,
        pool: [kind],
        blocks: [
          [0, 0],
          [0, 0],
        ] as const,
        values,
        seed: 3,
      };
      withSubject(build(recipe, engine), (subject) => {
        const stored = gradientsOf(subject, "store");
        expectSameGradients(gradientsOf(subject, "exact"), stored, "exact");
        expectSameGradients(gradientsOf(subject, "checkpoint"), stored, "checkpoint");
        expect(stored.get("input 0")).toBeDefined();
      });
    }
  });
});
