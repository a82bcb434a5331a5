import { CpuBackend } from "@revnet-zero/backend-cpu";
import { expectBitEqual } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { train } from "./exactTraining.ts";

// Wide enough for every kind of kernel to be divided among threads.
const sizes = { dModel: 64, batch: 4, time: 32 } as const;

describe.each(["store", "exact"] as const)("200 steps of AdamW with dropout, streams %s", (mode) => {
  test("leave the same bits in every weight and moment on one, two and three threads, and in poisoned memory", () => {
    const on = (threads: number, isPoisoned = false) =>
      train(mode, 200, 1, { backend: new CpuBackend({ threads, isPoisoned }), ...sizes });
    const one = on(1);
    expect(one.losses.at(-1)!).toBeLessThan(one.losses[0]! / 2);
    for (const [name, found] of [
      ["two threads", on(2)],
      ["three threads, poisoned", on(3, true)],
    ] as const) {
      expectBitEqual(Float64Array.from(found.losses), Float64Array.from(one.losses), `losses on ${name}`);
      for (const [part, values] of one.state) expectBitEqual(found.state.get(part)!, values, `${part} on ${name}`);
    }
  });
});
