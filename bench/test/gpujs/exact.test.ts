import { expect, test } from "vitest";
import { couplings } from "../../src/exactness/couplings.ts";
import { surveyOf } from "./exact.ts";

// All depths in all modes: exact.browser.ts, exact.gl.ts and `npm run bench -- exactness --backend gpujs`.
const exact = { reconstructionBitEqual: true, gradientsBitEqual: true };

test("48 blocks are rebuilt to the bit by gpu.js in mode webasm", async () => {
  expect(await surveyOf("webasm", 48, "additive")).toMatchObject(exact);
});

test("12 blocks are rebuilt to the bit by gpu.js in mode cpu", async () => {
  expect(await surveyOf("cpu", 12, "additive")).toMatchObject(exact);
});

test.each(Object.keys(couplings))("blocks of the coupling %s are rebuilt to the bit by gpu.js", async (coupling) => {
  expect(await surveyOf("webasm", 2, coupling)).toMatchObject(exact);
});
