import { describe, expect, test } from "vitest";
import { couplings } from "../../src/exactness/couplings.ts";
import { surveyOf } from "./exact.ts";

const exact = { reconstructionBitEqual: true, gradientsBitEqual: true };

describe.each(["webgl2", "webgl", "webgpu", "webasm", "cpu"] as const)("in a browser, gpu.js in mode %s", (mode) => {
  test.each([12, 24, 48])("%i blocks are rebuilt to the bit", async (blocks) => {
    expect(await surveyOf(mode, blocks, "additive")).toMatchObject(exact);
  });
});

test.each(Object.keys(couplings))("in webgl2, blocks of the coupling %s are rebuilt to the bit", async (coupling) => {
  expect(await surveyOf("webgl2", 2, coupling)).toMatchObject(exact);
});
