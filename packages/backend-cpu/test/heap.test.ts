import type { DType, TypedArray } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Heap } from "../src/wasm/device/heap.ts";

const MIB = 2 ** 20;
const dtypes: readonly DType[] = ["f32", "f64", "i32", "bf16", "u8"];

/** Allocate so many elements, or free the nth of what is live. */
const steps = fc.array(
  fc.oneof(
    fc.record({ dtype: fc.constantFrom(...dtypes), elements: fc.nat({ max: 5000 }) }),
    fc.record({ free: fc.nat() }),
  ),
  { maxLength: 200 },
);

describe("the heap", () => {
  test("hands out buffers that never overlap, aligned to lines, whose bytes stay what their owner wrote", () => {
    fc.assert(
      fc.property(steps, (program) => {
        const heap = new Heap({ reservedBytes: 1000, limitBytes: 4 * MIB });
        const live: { view: TypedArray; mark: number }[] = [];
        let mark = 0;
        const check = ({ view, mark }: (typeof live)[number]): void => expect(view.every((v) => v === mark)).toBe(true);
        for (const step of program) {
          if ("free" in step) {
            const [gone] = live.splice(step.free % Math.max(1, live.length), 1);
            if (gone === undefined) continue;
            check(gone);
            heap.free(gone.view);
          } else {
            const view = heap.allocate(step.dtype, step.elements);
            expect(view).toHaveLength(step.elements);
            expect(view.byteOffset % 64).toBe(0);
            expect(view.byteOffset).toBeGreaterThanOrEqual(1000);
            mark = (mark + 1) % 100;
            view.fill(mark);
            live.push({ view, mark });
          }
        }
        for (const l of live) check(l);
      }),
      runs(100),
    );
  });

  test("joins what is free: after any program all of it can be had in one piece", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 20_000 }), { minLength: 1, maxLength: 60 }), fc.nat(), (sizes, seed) => {
        const heap = new Heap({ reservedBytes: 0, limitBytes: 8 * MIB });
        const views = sizes.map((n) => heap.allocate("f32", n));
        const high = heap.highWaterBytes;
        // In some other order than they were made.
        views.sort((a, b) => ((a.byteOffset * 31 + seed) % 97) - ((b.byteOffset * 31 + seed) % 97));
        for (const v of views) heap.free(v);
        const whole = heap.allocate("u8", high);
        expect(whole).toHaveLength(high);
        expect(heap.highWaterBytes).toBe(high);
      }),
      runs(50),
    );
  });

  test("stays as large as one round needs, however many there are", () => {
    const heap = new Heap({ reservedBytes: 0, limitBytes: 64 * MIB });
    const round = (): void => {
      const views = [3000, 10, 777, 3000, 64_000].map((n) => heap.allocate("f32", n));
      for (const v of views) heap.free(v);
    };
    round();
    const high = heap.highWaterBytes;
    for (let i = 0; i < 10_000; i++) round();
    expect(heap.highWaterBytes).toBe(high);
  });

  test("says that it is full, and goes on with what fits", () => {
    const heap = new Heap({ reservedBytes: 0, limitBytes: MIB });
    const half = heap.allocate("u8", MIB / 2);
    expect(() => heap.allocate("u8", MIB)).toThrow(/^the heap is full: \d+ bytes of 1048576$/);
    heap.free(half);
    expect(heap.allocate("u8", MIB / 2)).toHaveLength(MIB / 2);
    expect(() => heap.free(new Uint8Array(new ArrayBuffer(16), 8))).toThrow("freed a buffer that is not allocated");
  });
});
