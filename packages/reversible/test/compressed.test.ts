import { MLP } from "@revnet-zero/nn";
import { type Engine, expectNoLeak, foldKey, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type BlockPolicy, ReversibleSequence } from "../src/index.ts";
import { newEngine } from "./fixtures.ts";

const [rows, dim, depth] = [32, 16, 3];

interface Found {
  readonly output: Float32Array;
  readonly gradients: readonly Float32Array[];
  /** Bytes alive between forward and backward. */
  readonly heldBytes: number;
}

function pass(engine: Engine, plan: readonly BlockPolicy[], seed: number): Found {
  const mlp = (i: number): MLP => new MLP({ dim, key: foldKey(randomKey(seed), i), engine });
  const blocks = Array.from({ length: depth }, (_, i) => ({ F: mlp(2 * i), G: mlp(2 * i + 1) }));
  const sequence = new ReversibleSequence({ blocks, engine, plan: { blocks: plan } });
  return engine.scope(() => {
    const x = randomNormal([rows, dim], { key: randomKey(seed), engine }).requireGrad();
    const before = engine.ledger.liveBytes;
    const [a, b] = sequence.call(x, x) as [Tensor, Tensor];
    const loss = a.mul(b).sum();
    const heldBytes = engine.ledger.liveBytes - before;
    const output = Float32Array.from(a.dataSync());
    loss.backward();
    const leaves = [x, ...sequence.parameters()];
    const gradients = leaves.map((p) => Float32Array.from(p.grad!.dataSync()));
    for (const p of leaves) p.grad!.dispose();
    for (const p of leaves) p.grad = undefined;
    sequence.dispose();
    return { output, gradients, heldBytes };
  });
}

const norm = (v: ArrayLike<number>): number => Math.hypot(...Array.from(v));

test("activations in 8 bits: the same values, a third of the bytes, gradients off by a hundredth at most", () => {
  fc.assert(
    fc.property(fc.nat({ max: 1000 }), (seed) => {
      const engine = newEngine();
      const all = (policy: BlockPolicy): BlockPolicy[] => new Array(depth).fill(policy);
      const stored = pass(engine, all("store"), seed);
      const compressed = expectNoLeak(engine, () => pass(engine, all("store8"), seed));
      expect(compressed.output).toEqual(stored.output);
      expect(compressed.heldBytes).toBeLessThan(0.4 * stored.heldBytes);
      const exactly = compressed.gradients.every((g, i) => g.every((v, k) => v === stored.gradients[i]![k]));
      expect(exactly).toBe(false);
      compressed.gradients.forEach((g, i) => {
        const want = stored.gradients[i]!;
        // Each number is within 1/254 of the largest of its group of 64.
        expect(norm(g.map((v, k) => v - want[k]!))).toBeLessThan(0.01 * norm(want) + 1e-6);
      });
    }),
    runs(10),
  );
});

test("one compressed block changes nothing that does not pass through it", () => {
  const engine = newEngine();
  const mixed = pass(engine, ["reconstruct", "store8", "store"], 3);
  const exact = pass(engine, ["reconstruct", "store", "store"], 3);
  expect(mixed.output).toEqual(exact.output);
  // The last block's parameters, six a branch's worth at the end, get their gradients before the compressed one runs.
  const perBlock = (exact.gradients.length - 1) / depth;
  expect(mixed.gradients.slice(-perBlock)).toEqual(exact.gradients.slice(-perBlock));
});
