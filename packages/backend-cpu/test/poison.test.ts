import { Engine, type TypedArray, tensor } from "@revnet-zero/tensor";
import { describe, expect, test } from "vitest";
import { type CpuBackend, tierNames } from "../src/index.ts";
import { backendOf } from "./tier.fixture.ts";

describe.each(tierNames)("poisoned memory of tier %s", (tier) => {
  const poisoned = (): CpuBackend | undefined => backendOf(tier, { threads: 1, isPoisoned: true });

  test("is NaN before anyone writes it, and again when it is freed", () => {
    const backend = poisoned();
    if (backend === undefined) return;
    for (const [dtype, wrong] of [
      ["f32", Number.NaN],
      ["f64", Number.NaN],
      ["i32", -1],
      ["bf16", 0xffff],
    ] as const) {
      const data = backend.allocate(dtype, 37);
      expect(Array.from(data as ArrayLike<number>), dtype).toEqual(new Array(37).fill(wrong));
      data.fill(1);
      backend.free(data);
      expect(data[36], dtype).toEqual(wrong);
    }
  });

  test("shows a tensor that is read after its buffer was freed", () => {
    const backend = poisoned();
    if (backend === undefined) return;
    const engine = new Engine(backend);
    let kept: TypedArray | undefined;
    const allocate = backend.allocate.bind(backend);
    backend.allocate = (dtype, elements) => {
      kept = allocate(dtype, elements);
      return kept;
    };
    engine.scope(() => {
      tensor([1, 2, 3], { engine }).add(1);
      expect([...(kept as Float32Array)]).toEqual([2, 3, 4]);
    });
    expect([...(kept as Float32Array)]).toEqual([Number.NaN, Number.NaN, Number.NaN]);
  });
});
