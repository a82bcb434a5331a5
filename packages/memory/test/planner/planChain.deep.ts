import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { test } from "vitest";
import { plannerIsOptimal } from "./bruteForce.ts";
import { macroItemsAreExact, nestedFrontIsExact } from "./nested.ts";

test("the planner finds the best of all plans, on 1,500 instances", () => {
  fc.assert(plannerIsOptimal(7), runs(1500));
}, 600_000);

test("nested segments: the front of a row of ordinary blocks is that of all its plans, for 1,000 rows", () => {
  fc.assert(nestedFrontIsExact(5), runs(1000));
}, 600_000);

test("rows of ordinary blocks as items of chains get the best plan of all, for 1,000 chains", () => {
  fc.assert(macroItemsAreExact(4), runs(1000));
}, 600_000);
