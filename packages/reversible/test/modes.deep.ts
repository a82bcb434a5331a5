import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { test } from "vitest";
import { anchorProperty } from "./anchorProperty.ts";
import { bdiaProperty } from "./bdiaProperty.ts";
import { newEngine } from "./fixtures.ts";
import { modeProperties } from "./modeProperties.ts";
import { bufferProperty, ratioProperty, ulpProperty } from "./sideProperties.ts";

const engine = newEngine();

modeProperties(1000);

test("P5: the information buffer, with any factors", () => {
  fc.assert(bufferProperty(engine), runs(1000));
});
test("P5: the information buffer, with a constant factor", () => {
  fc.assert(ratioProperty(engine), runs(1000));
});
test("the code of units in the last place", () => {
  fc.assert(ulpProperty(engine), runs(1000));
});
test("BDIA", () => {
  fc.assert(bdiaProperty(engine), runs(1000));
});
test("P11: drift below the tolerance, or an anchor more", async () => {
  await fc.assert(anchorProperty(newEngine), runs(1000));
});
