import { createGpuJsBackend } from "@revnet-zero/backend-gpujs";
import { expect, test } from "vitest";
import { surveyOf } from "./exact.ts";

test("12 to 48 blocks are rebuilt to the bit by gpu.js in headlessgl", async (context) => {
  const missing = await createGpuJsBackend({ mode: "headlessgl" }).then(
    () => undefined,
    (error: Error) => error.message,
  );
  if (missing !== undefined) context.skip(missing);
  for (const blocks of [12, 24, 48]) {
    const found = await surveyOf("headlessgl", blocks, "additive");
    expect(found).toMatchObject({ reconstructionBitEqual: true, gradientsBitEqual: true });
  }
});
