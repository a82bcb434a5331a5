import { foldKey, type Key, ones, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import { expectBitEqual, expectClose, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type ReversibleBlock, type ReversibleMode, ReversibleSequence } from "../src/index.ts";
import { newEngine } from "./fixtures.ts";

// Two libraries of reversible layers compute wrong gradients without a word: one draws a new dropout mask when it runs
// a branch again (the gradient was 91 % off), one forgets what a user's own coupling captured (9.9 % off). Here the
// gradients are held to a network written out in float64, differentiated by differences.

const engine = newEngine();
const [rows, dim, depth, p] = [3, 4, 2, 0.25];
const shape = [rows, dim];

/** Everything the loss depends on; `a` is [dim, dim], `b` [dim], the rest [rows, dim]. */
const names = ["x1", "x2", "a", "b"] as const;
type Name = (typeof names)[number];
type Values = Readonly<Record<Name, Float64Array>>;

/** Up to 1/2 in size, so that all that follows is of order one. */
function draw(random: Random, size: number): Float64Array {
  return Float64Array.from({ length: size }, () => Math.fround(random.between(-0.5, 0.5)));
}

/**
 * y1 = x1 + mask tanh(x2 a), y2 = x2 + mask (y1 b)², the same in every block, then Σ c (y1 + 2 y2): one number at a
 * time. `masks` holds the factors of every half-step.
 */
function lossByHand({ x1, x2, a, b }: Values, masks: readonly ArrayLike<number>[], c: Float64Array): number {
  const [y1, y2] = [x1.slice(), x2.slice()];
  for (let block = 0; block < depth; block++) {
    const increments = y1.map((_, i) => {
      const row = i - (i % dim);
      let sum = 0;
      for (let k = 0; k < dim; k++) sum += y2[row + k]! * a[k * dim + (i % dim)]!;
      return masks[2 * block]![i]! * Math.tanh(sum);
    });
    increments.forEach((f, i) => {
      y1[i]! += f;
    });
    y2.forEach((_, i) => {
      y2[i]! += masks[2 * block + 1]![i]! * (y1[i]! * b[i % dim]!) ** 2;
    });
  }
  return c.reduce((sum, w, i) => sum + w * (y1[i]! + 2 * y2[i]!), 0);
}

/** Central differences with two steps, extrapolated: the error is of order h⁴, here below 1e-10. */
function gradientByHand(values: Values, name: Name, loss: (v: Values) => number): Float64Array {
  const slope = (i: number, h: number): number => {
    const at = (moved: number): number => {
      const own = values[name].slice();
      own[i]! += moved;
      return loss({ ...values, [name]: own });
    };
    return (at(h) - at(-h)) / (2 * h);
  };
  return values[name].map((_, i) => (4 * slope(i, 5e-4) - slope(i, 1e-3)) / 3);
}

type Coupling = (a: Tensor, b: Tensor) => ReversibleBlock;

const plain: Coupling = (a, b) => ({ F: (x) => x.matmul(a).tanh(), G: (y) => y.mul(b).square() });
const dropping: Coupling = (a, b) => ({
  F: (x) => x.matmul(a).tanh().dropout(p, engine.nextKey("F")),
  G: (y) => y.mul(b).square().dropout(p, engine.nextKey("G")),
});

/** The gradients that the engine finds in a mode. 26 bits after the point: finer than f32, range ±32. */
function gradients(
  coupling: Coupling,
  values: Values,
  c: Float64Array,
  key: Key,
  mode: ReversibleMode,
): Float32Array[] {
  const scope = engine.openScope();
  const shapes = { x1: shape, x2: shape, a: [dim, dim], b: [dim] };
  const leaves = names.map((n) => tensor(values[n], { shape: shapes[n], dtype: "f32", engine }).requireGrad());
  const [x1, x2, a, b] = leaves as [Tensor, Tensor, Tensor, Tensor];
  const blocks = new Array<ReversibleBlock>(depth).fill(coupling(a, b));
  const sequence = new ReversibleSequence({ blocks, mode, fractionBits: 26, engine });
  const [y1, y2] = engine.withKey(key, () => sequence.call(x1, x2)) as [Tensor, Tensor];
  y1.add(y2.mul(2))
    .mul(tensor(c, { shape, dtype: "f32", engine }))
    .sum()
    .backward();
  const found = leaves.map((leaf) => leaf.grad!.dataSync() as Float32Array);
  for (const leaf of leaves) leaf.dispose();
  sequence.dispose();
  scope.close();
  return found;
}

/** Holds every mode that rebuilds or recomputes to the network by hand. */
function expectRight(coupling: Coupling, seed: number, masksOf: (key: Key) => readonly ArrayLike<number>[]): void {
  const random = new Random(seed);
  const [n, key] = [rows * dim, randomKey(seed)];
  const values = { x1: draw(random, n), x2: draw(random, n), a: draw(random, dim * dim), b: draw(random, dim) };
  const c = draw(random, n);
  const masks = masksOf(key);
  const stored = gradients(coupling, values, c, key, "store");
  const byHand = names.map((name) => gradientByHand(values, name, (v) => lossByHand(v, masks, c)));
  // Cotangents inside are of the size of the largest gradient, and pass through about 16 roundings on their way.
  const scale = Math.max(...byHand.flatMap((g) => [...g.map(Math.abs)]), 1);
  for (const mode of ["exact", "float", "checkpoint"] as const) {
    const found = gradients(coupling, values, c, key, mode);
    names.forEach((name, i) => {
      const what = `${mode}: gradient of ${name}`;
      expectClose(found[i]!, { exact: byHand[i]!, scale, dtype: "f32", factor: 16 }, what);
      if (mode !== "float") expectBitEqual(found[i]!, stored[i]!, what);
    });
  }
}

test("a user's own coupling: what its branches captured gets the gradient of the function written out", () => {
  const everything = new Array<number[]>(2 * depth).fill(new Array(rows * dim).fill(1));
  fc.assert(
    fc.property(fc.nat(), (seed) => expectRight(plain, seed, () => everything)),
    runs(15),
  );
});

test("dropout in branches: the gradient is of the masks that the forward pass drew", () => {
  // The key of the pass is the first call's; each half-step folds its number in, and its dropout draws first.
  const masksOf = (key: Key): Float32Array[] =>
    Array.from({ length: 2 * depth }, (_, step) =>
      engine.scope(() => {
        const own = foldKey(foldKey(foldKey(key, 0), step), 0);
        return ones(shape, { engine }).dropout(p, own).dataSync().slice() as Float32Array;
      }),
    );
  fc.assert(
    fc.property(fc.nat(), (seed) => expectRight(dropping, seed, masksOf)),
    runs(15),
  );
  // Masks of another key are told apart: the test above would notice a mask drawn anew.
  expect(() => expectRight(dropping, 1, () => masksOf(randomKey(2)))).toThrow("gradient of");
});
