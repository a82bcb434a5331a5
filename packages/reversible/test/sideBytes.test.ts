import { foldKey, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { describe, expect, test } from "vitest";
import { momentum, type ReversibleBlock, type ReversibleMode, ReversibleSequence } from "../src/index.ts";
import { newEngine } from "./fixtures.ts";

const [rows, dim] = [64, 32];
const elements = rows * dim;

/** Bytes that a graph holds between forward and backward, and what the sequence says of it. */
function held(mode: ReversibleMode, blocks: readonly ReversibleBlock[]) {
  const engine = newEngine();
  const sequence = new ReversibleSequence({ blocks, mode, fractionBits: 8, engine });
  return engine.scope(() => {
    const draw = (i: number): Tensor => randomNormal([rows, dim], { key: foldKey(randomKey(1), i), engine });
    const x = draw(0).requireGrad();
    const [y1, y2] = sequence.call(x, draw(1)) as [Tensor, Tensor];
    const loss = y1.add(y2).sum();
    const { live } = engine.memory();
    const { sideBytes } = sequence;
    loss.backward();
    x.dispose();
    return { bytes: live.saved + live.streams, sideBytes };
  });
}

const additive = (depth: number): ReversibleBlock[] =>
  Array.from({ length: depth }, () => ({ F: (x: Tensor) => x.sin(), G: (x: Tensor) => x.cos() }));

describe("what is kept beside the streams", () => {
  test.each([
    ["exact", 4],
    ["exact16", 2],
    ["grid-f32", 4],
  ] as const)("in mode %s is nothing: two streams of %i bytes an element, at any depth", (mode, width) => {
    for (const depth of [1, 7])
      expect(held(mode, additive(depth))).toEqual({ bytes: 2 * width * elements, sideBytes: 0 });
  });

  test("in mode lossless is in the ledger: two bits an element and half-step, and the escapes", () => {
    const depth = 5;
    const { bytes, sideBytes } = held("lossless", additive(depth));
    // The streams' handles count once: lossless keeps no samples of a drift.
    expect(bytes).toBe(2 * 4 * elements + sideBytes);
    const codes = (2 * depth * elements) / 4;
    expect(sideBytes).toBeGreaterThanOrEqual(codes);
    expect(sideBytes).toBeLessThan(2 * codes);
  });

  test("of a momentum coupling on int32 streams is a head an element and stream, and log2 of 1/γ bits a block", () => {
    const depth = 64;
    const blocks = Array.from({ length: depth }, () => momentum({ f: (x) => x.sin(), gamma: 0.5 }));
    const { bytes, sideBytes } = held("exact", blocks);
    expect(bytes).toBe(2 * 4 * elements + sideBytes);
    const heads = 2 * 4 * elements;
    expect(sideBytes).toBeLessThanOrEqual(heads + (depth / 8) * elements);
    expect(sideBytes).toBeGreaterThan(heads + ((depth - 32) / 8) * elements);
  });
});
