import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { test } from "vitest";
import { plannerIsOptimal } from "./bruteForce.ts";

test("the planner finds the best of all plans, on 1,500 instances", () => {
  fc.assert(plannerIsOptimal(7), runs(1500));
}, 600_000);
