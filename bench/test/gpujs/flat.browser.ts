import { expect, test } from "vitest";
import { countTextures } from "./textures.ts";

test("training in webgl2 keeps as many textures as it had after its first steps", async () => {
  const counted = await countTextures("webgl2", 20);
  expect(new Set(counted.slice(8).map((c) => JSON.stringify(c))).size).toBe(1);
});
