import { randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BlockPolicy, checkReversible } from "../src/index.ts";
import { anchorProperty, driftingSequence, driftOfPass } from "./anchorProperty.ts";
import { newEngine } from "./fixtures.ts";

test("P11: the drift measured is below the tolerance, or an anchor is put in its way, until it is", async () => {
  await fc.assert(anchorProperty(newEngine), runs(50));
});

describe("the drift of float streams", () => {
  test("grows about as depth does, and with the gain of the branches", async () => {
    const engine = newEngine();
    const drifts: number[] = [];
    for (const depth of [12, 24, 48, 96])
      drifts.push(await driftOfPass(driftingSequence(engine, depth, 0.05), engine, 1));
    // Branches are small against their streams, as in a fresh transformer. Eight times as deep: between what errors that cancel give (the root) and a little more than what all in one direction do.
    const growth = Math.log(drifts[3]! / drifts[0]!) / Math.log(8);
    expect(growth).toBeGreaterThan(0.5);
    expect(growth).toBeLessThan(1.6);
    for (const [i, d] of drifts.slice(1).entries()) expect(d).toBeGreaterThan(drifts[i]!);
    const large = await driftOfPass(driftingSequence(engine, 12, 3), engine, 1);
    expect(large).toBeGreaterThan(10 * drifts[0]!);
  });

  test("starts anew at every anchor: with one each four blocks, 48 are no worse than the worst four", async () => {
    const engine = newEngine();
    const blocks = Array.from({ length: 48 }, (_, i): BlockPolicy => (i % 4 === 0 ? "anchor" : "reconstruct"));
    const [free, held] = [driftingSequence(engine, 48, 2), driftingSequence(engine, 48, 2, { plan: { blocks } })];
    const [drift, bounded] = [await driftOfPass(free, engine, 1), await driftOfPass(held, engine, 1)];
    // A half-step back multiplies an error by at most 1 + gain, and adds a rounding of each of its four operations on numbers below 2^3.
    const [gain, steps] = [2 * 2, 8];
    const bound = (((1 + gain) ** steps - 1) / gain) * 4 * 2 ** -24 * 8;
    expect(bounded).toBeLessThan(bound);
    expect(bounded).toBeLessThan(drift / 100);
    expect(held.drifts.size).toBe(48);
    const measured = [...held.drifts.dataSync()].flatMap((d, i) => (Number.isNaN(d) ? [] : [i]));
    expect(measured).toEqual(Array.from({ length: 12 }, (_, i) => 4 * i));
  });

  test("below a tolerance of 0 means that every block is run again, with the gradients of stored backpropagation", async () => {
    const engine = newEngine();
    const sequence = driftingSequence(engine, 6, 2, { driftTolerance: 0 });
    for (let pass = 0; pass < 12; pass++) await driftOfPass(sequence, engine, 1);
    expect(await driftOfPass(sequence, engine, 1)).toBeNaN();
    expect(sequence.anchors).toEqual([0, 1, 2, 3, 4, 5]);
    const scope = engine.openScope();
    const draw = (i: number): Tensor => randomNormal([16, 8], { key: randomKey(i), engine });
    const report = await checkReversible(sequence, [draw(1), draw(2)], [draw(3), draw(4)]);
    expect(report).toMatchObject({ reconstructionBitEqual: false, gradientsBitEqual: true });
    scope.close();
  });
});
