import { LayerNorm, MLP, type Module, Sequential } from "@revnet-zero/nn";
import { foldKey, type Key, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BdiaSequence } from "../src/index.ts";
import { bdiaProperty } from "./bdiaProperty.ts";
import { wide } from "./branches.ts";
import { newEngine } from "./fixtures.ts";

const engine = newEngine();

test("any blocks, widths and depths come back bit for bit, with the gradients of stored backpropagation and one bit an element", () => {
  fc.assert(bdiaProperty(engine), runs(50));
});

describe("a pretrained network", () => {
  const dim = 6;
  /** h of a residual block. */
  const block = (key: Key): Module =>
    new Sequential(new LayerNorm({ dim, engine }), new MLP({ dim, hidden: 9, key, engine, init: wide }));

  test("infers what the ordinary one does, up to half a step of the grid a block", () => {
    const scope = engine.openScope();
    const blocks = [0, 1, 2, 3].map((i) => block(foldKey(randomKey(3), i)));
    const network = new BdiaSequence({ blocks, engine }).eval();
    const x = randomNormal([3, 4, dim], { key: randomKey(4), engine });
    const found = network.call(x).dataSync();
    const ordinary = blocks.reduce<Tensor>((y, h) => y.add(h.call(y)), x).dataSync();
    // Each block may multiply an error by what its gain is; these have one below 8.
    const bound = 2 ** -21 * [0, 1, 2, 3, 4].reduce((sum, k) => sum + 8 ** k, 0);
    found.forEach((v, i) => {
      expect(Math.abs(v - ordinary[i]!)).toBeLessThan(bound);
    });
    network.dispose();
    scope.close();
  });

  test("needs keys in training, and draws other signs from other keys", () => {
    const scope = engine.openScope();
    const network = new BdiaSequence({ blocks: [0, 1, 2].map((i) => block(foldKey(randomKey(5), i))), engine });
    const x = randomNormal([8, dim], { key: randomKey(6), engine });
    expect(() => network.call(x)).toThrow("no generator key is set");
    const [a, b, again] = [1, 2, 1].map((seed) =>
      engine.withKey(randomKey(seed), () => network.call(x).dataSync().slice()),
    );
    expect(b).not.toEqual(a);
    expectBitEqual(again!, a!);
    network.dispose();
    scope.close();
  });
});
