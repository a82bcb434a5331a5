import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { test } from "vitest";
import { ladderOptions, tokenPartition } from "./ladders.ts";

test("every query sees every token it may see exactly once, and no other", () => {
  fc.assert(fc.property(ladderOptions(400), tokenPartition), runs(1500));
});
