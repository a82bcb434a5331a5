import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ops, tensor } from "../src/index.ts";
import { newEngine } from "./engine.fixture.ts";

const least = -(2 ** 31);
/** Words, those near the ends and near 0 among them. */
const word = fc.oneof(
  fc.integer({ min: least, max: -1 - least }),
  fc.integer({ min: 0, max: 9 }).map((k) => least + k),
  fc.integer({ min: 0, max: 9 }).map((k) => -1 - least - k),
  fc.integer({ min: -9, max: 9 }),
);

test("floorDivide is the quotient rounded down and floorMod what it leaves, to the ends of int32", () => {
  const engine = newEngine();
  fc.assert(
    fc.property(word, word, (x, y) => {
      fc.pre(y !== 0);
      const [a, b] = [x, y].map((v) => Int32Array.of(v));
      engine.scope(() => {
        const given = [tensor(a!, { engine }), tensor(b!, { engine })] as const;
        const [quotient, left] = [ops.floorDivide, ops.floorMod].map((op) => given[0].apply(op, given, undefined));
        // Only the smallest integer through -1 is no int32: it wraps.
        expect(quotient!.itemSync()).toBe(Math.floor(x / y) | 0);
        expect(left!.itemSync()).toBe((x - Math.floor(x / y) * y) | 0);
      });
    }),
    runs(300),
  );
});
