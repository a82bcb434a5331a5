import fc from "fast-check";
import { type LadderOptions, makeLadder, tokensSeen } from "../src/index.ts";

/** Ladders of every kind for at most so many tokens. */
export const ladderOptions = (most: number): fc.Arbitrary<LadderOptions> =>
  fc.record({
    length: fc.integer({ min: 1, max: most }),
    leafSize: fc.integer({ min: 1, max: 9 }),
    compressionRatios: fc
      .array(fc.integer({ min: 2, max: 4 }), { maxLength: 4 })
      .map((radices) => radices.map((_, i) => radices.slice(0, i + 1).reduce((a, b) => a * b))),
    extendLevels: fc.boolean(),
    isCausal: fc.boolean(),
  });

/** Throws unless the rows that a query sees stand for each of its tokens once. */
export function tokenPartition(options: LadderOptions): void {
  const { length, isCausal } = options;
  const seen = tokensSeen(makeLadder(options));
  for (let i = 0; i < length; i++)
    for (let j = 0; j < length; j++) {
      const expected = isCausal !== false && j > i ? 0 : 1;
      if (seen[i * length + j] !== expected)
        throw new Error(`query ${i} sees token ${j} ${seen[i * length + j]} times, expected ${expected}`);
    }
}
