import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, test } from "vitest";
import { names } from "./layers.ts";
import { exactInverse, exactNames, haarIsBijective, promises, rebuiltIsClose, rebuiltIsExact } from "./properties.ts";

describe.each(names)("%s", (name) => {
  test.each(Object.entries(promises))("%s", (_, promise) => {
    fc.assert(promise(name), runs(1000));
  });
});

test.each(exactNames)("%s: fixed-point streams come back bit for bit, whatever they hold", (name) => {
  fc.assert(exactInverse(name), runs(2000));
});

test("integer haar is a bijection of words", () => {
  fc.assert(haarIsBijective(), runs(5000));
});

test("rebuilt gradients are stored ones, up to rounding", () => {
  fc.assert(rebuiltIsClose(), runs(1000));
});

test("rebuilt gradients of fixed-point streams are stored ones, bit for bit", () => {
  fc.assert(rebuiltIsExact(), runs(1000));
});
