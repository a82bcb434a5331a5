import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Block, CachingAllocator, type SegmentSource } from "../src/device/allocator.ts";

/** Segments of a device of limited size, at addresses that never touch. */
class Segments implements SegmentSource {
  readonly held = new Map<number, number>();
  #next = 2 ** 40;
  readonly #limit: number;
  constructor(limit: number) {
    this.#limit = limit;
  }
  get bytes(): number {
    return [...this.held.values()].reduce((a, b) => a + b, 0);
  }
  allocate(bytes: number): number {
    if (this.bytes + bytes > this.#limit) return 0;
    const address = this.#next;
    this.#next += bytes + 512;
    this.held.set(address, bytes);
    return address;
  }
  release(address: number): void {
    if (!this.held.delete(address)) throw new Error(`${address} is no segment`);
  }
  /** Whether a block lies inside one segment. */
  holds({ address, bytes }: Block): boolean {
    return [...this.held].some(([from, size]) => address >= from && address + bytes <= from + size);
  }
}

const overlap = (a: Block, b: Block): boolean => a.address < b.address + b.bytes && b.address < a.address + a.bytes;
const size = fc.oneof(
  fc.integer({ min: 1, max: 4096 }),
  fc.integer({ min: 1, max: 2 ** 21 }),
  fc.integer({ min: 1, max: 2 ** 26 }),
);
/** Sizes are allocated; a number below 0 frees the block in that place among the live ones. */
const steps = fc.array(fc.oneof(size, fc.integer({ min: -50, max: -1 })), { maxLength: 80 });

describe("caching allocator", () => {
  test("blocks are aligned, inside their segments and apart; all freed, the driver gets everything back", () => {
    fc.assert(
      fc.property(steps, (list) => {
        const segments = new Segments(2 ** 28);
        const allocator = new CachingAllocator(segments);
        const live: Block[] = [];
        for (const step of list) {
          if (step < 0) {
            const [block] = live.splice(-step % Math.max(1, live.length), 1);
            if (block !== undefined) allocator.free(block);
            continue;
          }
          try {
            const block = allocator.allocate(step);
            expect(block.address % 512).toBe(0);
            expect(block.bytes).toBeGreaterThanOrEqual(step);
            expect(segments.holds(block)).toBe(true);
            expect(live.some((other) => overlap(block, other))).toBe(false);
            live.push(block);
          } catch (error) {
            if (!(error instanceof RangeError)) throw error;
          }
          expect(allocator.reservedBytes).toBe(segments.bytes);
          expect(allocator.usedBytes).toBe(live.reduce((n, b) => n + b.bytes, 0));
          expect(allocator.liveBlocks).toBe(live.length);
        }
        for (const block of live) allocator.free(block);
        allocator.releaseCached();
        expect([segments.held.size, allocator.reservedBytes, allocator.usedBytes]).toEqual([0, 0, 0]);
      }),
      runs(200),
    );
  });

  test("steps that ask for the same sizes soon take nothing more from the driver", () => {
    fc.assert(
      fc.property(fc.array(size, { minLength: 1, maxLength: 20 }), (sizes) => {
        const segments = new Segments(2 ** 40);
        const allocator = new CachingAllocator(segments);
        const step = (): void => {
          const blocks = sizes.map((bytes) => allocator.allocate(bytes));
          for (const block of blocks.reverse()) allocator.free(block);
        };
        // The first steps may cut a large block for a small one; each such step leaves a segment for the next.
        for (let i = 0; i <= sizes.length; i++) step();
        const settled = segments.bytes;
        for (let i = 0; i < 5; i++) step();
        expect(segments.bytes).toBe(settled);
      }),
      runs(50),
    );
  });

  test("where a few blocks fill the device, none is cut out of a much larger one, and what nobody uses goes back for another", () => {
    const GIB = 2 ** 30;
    const segments = new Segments(24 * GIB);
    const allocator = new CachingAllocator(segments);
    allocator.free(allocator.allocate(16 * GIB));
    const small = allocator.allocate(8 * GIB);
    // Cut out of the first, it would have left 8 there and 8 outside.
    const large = allocator.allocate(16 * GIB);
    expect(allocator.reservedBytes).toBe(24 * GIB);
    allocator.free(small);
    // There is no room beside the two: the small one goes back to the driver.
    const [a, b] = [5, 3].map((n) => allocator.allocate(n * GIB));
    expect(allocator.reservedBytes).toBe(24 * GIB);
    allocator.free(large);
    // Inside a segment that is in use what is free is cut.
    const [c, d] = [12, 4].map((n) => allocator.allocate(n * GIB));
    for (const block of [a, b, c, d]) allocator.free(block!);
    allocator.releaseCached();
    expect([segments.held.size, allocator.usedBytes]).toEqual([0, 0]);
  });

  test("a small block that stays does not keep a huge part from what needs all of it", () => {
    const GIB = 2 ** 30;
    const segments = new Segments(8.5 * GIB);
    const allocator = new CachingAllocator(segments);
    allocator.free(allocator.allocate(8 * GIB));
    const small = allocator.allocate(0.25 * GIB);
    allocator.free(allocator.allocate(8 * GIB));
    expect(allocator.reservedBytes).toBe(8.25 * GIB);
    // Where the driver has no room what nobody uses goes back.
    const next = allocator.allocate(0.5 * GIB);
    expect(allocator.reservedBytes).toBeLessThanOrEqual(8.5 * GIB);
    for (const block of [small, next]) allocator.free(block);
    allocator.releaseCached();
    expect(segments.bytes).toBe(0);
  });

  test("nothing is handed out for nothing, and freeing twice is an error", () => {
    const allocator = new CachingAllocator(new Segments(2 ** 30));
    allocator.free(allocator.allocate(0));
    expect(allocator.reservedBytes).toBe(0);
    const block = allocator.allocate(100);
    allocator.free(block);
    expect(() => allocator.free(block)).toThrow("freed twice");
  });
});
