import { expect, test } from "vitest";
import { couplings } from "../../src/exactness/couplings.ts";
import { surveyOf } from "./exact.ts";

const exact = { reconstructionBitEqual: true, gradientsBitEqual: true };

test.each(["webasm", "cpu"] as const)("12 to 48 blocks are rebuilt to the bit by gpu.js in mode %s", async (mode) => {
  for (const blocks of [12, 24, 48]) expect(await surveyOf(mode, blocks, "additive")).toMatchObject(exact);
});

test.each(Object.keys(couplings))("blocks of the coupling %s are rebuilt to the bit by gpu.js", async (coupling) => {
  expect(await surveyOf("webasm", 6, coupling)).toMatchObject(exact);
});
