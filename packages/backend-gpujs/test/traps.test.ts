import { expect, test } from "vitest";
import { Device } from "../src/device/device.ts";
import { openGpu } from "../src/device/gpu.ts";
import { createGpuJsBackend } from "../src/index.ts";
import { manyOperands } from "./operands.ts";
import { traps } from "./traps.ts";

traps("webasm");
traps("cpu");
manyOperands("webasm");

test("a mode that cannot be had is an error with the reason", async () => {
  await expect(createGpuJsBackend({ mode: "webgl2" })).rejects.toThrow(
    /mode webgl2 is not available here: .*\n.*hint: it takes a browser/s,
  );
});

test("a kernel that gpu.js runs elsewhere is an error", async () => {
  const device = new Device("webasm", await openGpu("cpu"));
  expect(() => device.upload(Float32Array.of(1))).toThrow("gpu.js ran a kernel as cpu");
});

test("a page's own GPU stays where it is", async () => {
  class Native {}
  const page = globalThis as { GPU?: unknown };
  page.GPU = Native;
  await createGpuJsBackend({ mode: "cpu" });
  expect(page.GPU).toBe(Native);
  delete page.GPU;
});
