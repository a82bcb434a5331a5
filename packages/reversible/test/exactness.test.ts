import { expectNoLeak, type HostData, randomKey, type Tensor } from "@revnet-zero/tensor";
import { expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  allKinds,
  build,
  expectSameGradients,
  gradientsOf,
  newEngine,
  recipes,
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
