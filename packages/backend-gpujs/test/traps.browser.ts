import { Engine, ones, tensor } from "@revnet-zero/tensor";
import { rejectionText } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { openGpu } from "../src/device/gpu.ts";
import { createGpuJsBackend } from "../src/index.ts";
import { manyOperands } from "./operands.ts";
import { traps } from "./traps.ts";

const page = globalThis as { GPU?: unknown };
const native = page.GPU;

traps("webgl2");
traps("webgl");
traps("webgpu");
manyOperands("webgl2");
manyOperands("webgpu");

test("a page's own GPU stays where it is", async () => {
  await createGpuJsBackend({ mode: "webgl2" });
  expect(page.GPU).toBe(native);
});

describe("a lost context", () => {
  test.each(["webgl2", "webgl"] as const)("is an error in %s, never zeros, and a new backend works", async (mode) => {
    const engine = new Engine(await createGpuJsBackend({ mode }));
    const x = tensor([1, 2, 3], { engine });
    const { context } = await openGpu(mode);
    (context as unknown as WebGl).getExtension("WEBGL_lose_context").loseContext();
    expect(await rejectionText(x.data())).toContain("context was lost");
    expect(() => ones([2], { engine })).toThrow("context was lost");
    const again = new Engine(await createGpuJsBackend({ mode }));
    const y = tensor([4, 5], { engine: again });
    expect([...(await y.data())]).toEqual([4, 5]);
    y.dispose();
  });

  test("is an error in webgpu", async () => {
    const engine = new Engine(await createGpuJsBackend({ mode: "webgpu" }));
    const x = tensor([1, 2, 3], { engine });
    await x.data();
    const { WebGPUContext } = (await import("gpu.js")) as unknown as { WebGPUContext: { destroy(): Promise<void> } };
    await WebGPUContext.destroy();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await rejectionText(x.add(1).data())).toContain("lost");
  });
});

interface WebGl {
  getExtension(name: string): { loseContext(): void };
}
