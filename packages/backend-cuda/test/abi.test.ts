import { expect, test } from "vitest";
import { checkAbi } from "../src/ahead/abiCheck.ts";

test("our prototypes, numbers and structs are those of NVIDIA's headers", (context) => {
  const { checked, absent, problem } = checkAbi();
  expect(problem ?? "").toBe("");
  if (checked.length === 0) context.skip(`none of ${absent.join(", ")} is on this machine`);
});
