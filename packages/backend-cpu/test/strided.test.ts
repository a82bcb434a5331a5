import { arange, Engine } from "@revnet-zero/tensor";
import { describe, test } from "vitest";
import { tierNames } from "../src/index.ts";
import { backendOf } from "./tier.fixture.ts";

describe.each(tierNames)("tier %s", (tier) => {
  // The step from row to row is longer than what the heap keeps free after a tensor, and 5 is one element past a vector.
  test("a transposed copy reads nothing past the last row, where memory may end", () => {
    const backend = backendOf(tier);
    if (backend === undefined) return;
    const engine = new Engine(backend);
    const [rows, columns] = [5, 300_000];
    engine.scope(() => {
      const x = arange(rows * columns, { engine, dtype: "f32" }).reshape([rows, columns]);
      const copied = x.transpose().contiguous().dataSync();
      for (let i = 0; i < copied.length; i++) {
        const expected = (i % rows) * columns + Math.floor(i / rows);
        if (copied[i] !== expected) throw new Error(`element ${i} is ${copied[i]}, expected ${expected}`);
      }
    });
  });
});
