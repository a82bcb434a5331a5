import { Dropout, Linear, Sequential } from "@revnet-zero/nn";
import {
  type Engine,
  expectNoLeak,
  foldKey,
  type HostData,
  randomKey,
  randomNormal,
  type Tensor,
  tensor,
} from "@revnet-zero/tensor";
import { drawValues, expectBitEqual, Random } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect } from "vitest";
import { BdiaSequence, type Branch } from "../src/index.ts";
import { wide } from "./branches.ts";
import { expectSameGradients, type Gradients } from "./fixtures.ts";

/** A BDIA network of random depth, width, inputs and branches, dropout among them: reconstruction, gradients and size. */
export const bdiaProperty = (engine: Engine): fc.IPropertyWithHooks<[number, number, number, boolean, number]> =>
  fc.property(
    fc.integer({ min: 1, max: 12 }),
    fc.integer({ min: 1, max: 7 }),
    fc.constantFrom(20, 9, 0),
    fc.boolean(),
    fc.nat(),
    (depth, dim, fractionBits, isExtreme, seed) => {
      const key = (i: number) => foldKey(randomKey(seed), i);
      const branch = (i: number): Branch => {
        const linear = new Linear({ in: dim, out: dim, key: key(i), engine, init: wide });
        return i % 3 === 2 ? new Sequential(linear, new Dropout(0.3)) : linear;
      };
      const network = new BdiaSequence({
        blocks: Array.from({ length: depth }, (_, i) => branch(i)),
        fractionBits,
        engine,
      });
      const shape = [3, 2, dim];
      const values = drawValues(new Random(seed), 6 * dim, "f32", isExtreme ? "extreme" : "plain");
      const gradients = (mode: "exact" | "store"): Gradients =>
        expectNoLeak(engine, () =>
          engine.scope(() => {
            network.sequence.mode = mode;
            const x = tensor(values, { shape, dtype: "f32", engine }).requireGrad();
            const y = engine.withKey(key(100), () => network.call(x));
            const found = new Map<string, HostData | undefined>([["output", y.dataSync()]]);
            y.mul(randomNormal(shape, { key: key(101), engine }))
              .sum()
              .backward();
            for (const [name, p] of [...network.namedParameters(), ["input", x] as const]) {
              found.set(name, p.grad?.dataSync());
              p.grad?.dispose();
              p.grad = undefined;
            }
            x.dispose();
            return found;
          }),
        );
      const stored = gradients("store");
      expectSameGradients(gradients("exact"), stored, "exact");
      const words = Math.ceil((6 * dim) / 32);
      expect(network.sequence.sideBytes).toBe(4 * words * (depth - 1));

      engine.scope(() => {
        const random = new Random(seed + 1);
        const word = (): Tensor =>
          tensor(
            Int32Array.from({ length: 6 * dim }, () => random.integer(-(2 ** 31), 2 ** 31 - 1)),
            { shape, engine },
          );
        const [a, b] = [word(), word()];
        const pass = engine.withKey(key(102), () => network.sequence.invertible(a, b));
        const back = pass.inverse();
        expectBitEqual(back[0]!.dataSync(), a.dataSync());
        expectBitEqual(back[1]!.dataSync(), b.dataSync());
      });
      network.dispose();
    },
  );
