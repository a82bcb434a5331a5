import { expect, test } from "vitest";
import { expectSameTraining } from "./exactTraining.ts";

test("200 steps of AdamW with dropout leave the bits of stored backpropagation in every weight and moment", () => {
  const { losses } = expectSameTraining(200);
  // From a guess among 16 tokens to better than one among 8.
  expect(losses[0]!).toBeGreaterThan(Math.log(15));
  expect(losses.at(-1)!).toBeLessThan(Math.log(8));
});
