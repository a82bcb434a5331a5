import { expect, test } from "vitest";
import { expectSameTraining, train } from "./exactTraining.ts";

test("20 steps of AdamW with dropout leave the bits of stored backpropagation in every weight and moment", () => {
  const stored = expectSameTraining(20);
  // It did learn, and every weight has moved: equal bits are not those of two models standing still.
  expect(stored.losses.at(-1)!).toBeLessThan(stored.losses[0]!);
  const before = train("store", 1).state;
  for (const [name, values] of stored.state) expect(values, name).not.toEqual(before.get(name));
});
