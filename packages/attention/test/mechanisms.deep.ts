import { checkReversible, ReversibleSequence } from "@revnet-zero/reversible";
import { randomKey, type Tensor } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { MechanismAttention } from "../src/index.ts";
import { causalMechanisms } from "./fixtures.ts";
import { ladderOptions } from "./ladders.ts";
import { hierarchicalIsDense } from "./oracle.ts";

test("hierarchical attention is softmax attention over the pyramid, for all ladders", () => {
  const pooling = fc.constantFrom("mean" as const, "learned" as const);
  fc.assert(fc.property(ladderOptions(60), pooling, hierarchicalIsDense), runs(1000));
});

test.each(Object.entries(causalMechanisms))(
  "%s in reversible blocks is exact on inputs of every kind",
  async (_, make) => {
    const F = (key: number): MechanismAttention =>
      new MechanismAttention({
        ...{ dim: 8, numHeads: 2, numKeyValueHeads: 1, rotary: true },
        ...{ mechanism: make("f32"), key: randomKey(key) },
      });
    const sequence = new ReversibleSequence({
      blocks: [1, 2, 3].map((key) => ({ F: F(key), G: (x: Tensor) => x.sin() })),
    });
    const survey = await checkReversible(sequence, { shape: [2, 31, 8], runs: 60 });
    expect(survey.isExact, String(survey)).toBe(true);
  },
);
