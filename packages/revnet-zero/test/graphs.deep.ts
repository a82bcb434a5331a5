import { test } from "vitest";
import { checkPrograms, reason } from "./graphPrograms.ts";

test("a graph has the bits of the function and of its recording, random numbers included", (context) => {
  if (reason !== undefined) context.skip(reason);
  checkPrograms(1000);
});
