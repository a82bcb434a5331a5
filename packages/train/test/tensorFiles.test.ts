import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine } from "@revnet-zero/tensor";
import { expect, test } from "vitest";
import { fromEntries } from "../src/index.ts";

test("tensors of a file that was read as a Buffer are its own bytes, wherever they lie in it", () => {
  const engine = new Engine(new CpuBackend());
  // A Buffer's slice is a view of the whole file.
  const file = Buffer.from(new Float32Array([9, 1, 2, 9]).buffer);
  const entries = new Map([["w", { dtype: "F32", shape: [2], data: file.subarray(4, 12) } as const]]);
  const w = fromEntries(entries, engine).get("w")!;
  expect([...w.dataSync()]).toEqual([1, 2]);
  file.fill(0);
  expect([...w.dataSync()]).toEqual([1, 2]);
});
