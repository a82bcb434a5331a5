import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ladderOptions, tokenPartition } from "./ladders.ts";

const { makeLadder } = await import("../src/index.ts");

test("every query sees every token it may see exactly once, and no other, for all lengths, leaves and levels", () => {
  fc.assert(fc.property(ladderOptions(150), tokenPartition), runs(60));
});

test("the literal four levels and leaves of 64 at 100,000 tokens: keys a query, as a formula", () => {
  const ladder = makeLadder({ length: 100_000, leafSize: 64, compressionRatios: [4, 16, 64, 256] });
  expect(ladder.levels.map(({ ratio }) => ratio)).toEqual([1, 4, 16, 64, 256]);
  // 8 leaf blocks and 6 tiles of a level at most, and on the last one everything before.
  expect(ladder.list.mostKeys).toBeLessThanOrEqual(64 * (8 + 6 * 3) + 100_000 / 256);
});

test("extended, a query sees O(log n) blocks: at most 8 leaves and 6 tiles a level", () => {
  for (const length of [1000, 16_000, 250_000]) {
    const { list, levels } = makeLadder({ length, leafSize: 16, compressionRatios: [4], extendLevels: true });
    expect(list.mostKeys).toBeLessThanOrEqual(16 * (8 + 6 * (levels.length - 1)));
    expect(levels.length).toBeLessThanOrEqual(2 + Math.log2(length / 16) / 2);
  }
});

test("a causal list of a block does not depend on what comes after it, where levels are extended", () => {
  const runsOf = (length: number, block: number): string => {
    const { levels, list } = makeLadder({ length, leafSize: 4, compressionRatios: [2], extendLevels: true });
    const words = list.words.subarray(block * list.slots * 4, (block + 1) * list.slots * 4);
    const rows: string[] = [];
    for (let i = 0; i < words.length; i += 4) {
      const [first, end] = [words[i]!, words[i + 1]!];
      const level = levels.findIndex(({ offset, rows }) => first >= offset && first < offset + rows);
      if (end > first) rows.push(`${level}: ${first - levels[level]!.offset} to ${end - levels[level]!.offset}`);
    }
    return rows.join(", ");
  };
  // A row of the list is for two leaves, which see the same summaries of two.
  for (const block of [0, 1, 4, 12]) expect(runsOf(8 * block + 8, block)).toBe(runsOf(777, block));
});

test("nonsense is refused", () => {
  const at = { length: 100, leafSize: 8 };
  const [down, odd] = [
    [16, 4],
    [4, 10],
  ];
  expect(() => makeLadder({ ...at, compressionRatios: down! })).toThrow("compressionRatios are [16, 4]");
  expect(() => makeLadder({ ...at, compressionRatios: odd! })).toThrow("let each be a greater multiple");
  expect(() => makeLadder({ ...at, leafSize: 0, compressionRatios: [4] })).toThrow("leafSize is 0");
});
