import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { test } from "vitest";
import { subjects } from "./models.ts";
import { sameBitsUnderAnyPlan } from "./planProperty.ts";

test.each(subjects.map((make) => make()))(
  "$name: gradients are the same bits under 1,000 random plans",
  (subject) => {
    fc.assert(sameBitsUnderAnyPlan(subject), runs(1000));
  },
  600_000,
);
