import { type Engine, type Tensor, tensor } from "@revnet-zero/tensor";
import { Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { narrowArithmetic } from "../src/index.ts";
import { newEngine } from "./fixtures.ts";

const engine = newEngine();

/** A branch that looks its increment up in a table of 256 numbers, none of which follows from another. */
function table(on: Engine, seed: number): (stream: Tensor) => Tensor {
  const random = new Random(seed);
  const entries = tensor(
    Float32Array.from({ length: 256 }, () => random.between(-40, 40) * random.pick([1, 1, 1, 1000, Number.NaN])),
    { engine: on },
  );
  return (stream) => entries.take(stream.cast("i32").add(128));
}

test("a block of int8 streams is a permutation of all its 65,536 states, whatever its branches are", () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: -3, max: 4 }), (seed, bits) =>
      engine.scope(() => {
        const [F, G] = [table(engine, seed), table(engine, seed + 1)];
        const arithmetic = narrowArithmetic({ scales: tensor(2 ** bits, { dtype: "f32", engine }), dtype: "i8" });
        const memory = {
          keeps: false,
          buffer: tensor(0, { engine }),
          push: () => {},
          pop: () => tensor(0, { engine }),
        };
        const all = (f: (i: number) => number): Tensor =>
          tensor(
            Int8Array.from({ length: 65536 }, (_, i) => f(i)),
            { engine },
          );
        const start = [all((i) => (i >> 8) - 128), all((i) => (i & 255) - 128)] as const;
        const add = (x: Tensor, f: Tensor): Tensor => arithmetic.add(x, f, { times: 1 }, memory).stream;
        const a = add(start[0].clone(), F(start[1]));
        const b = add(start[1].clone(), G(a));
        const [p, q] = [a.dataSync(), b.dataSync()];
        const states = new Set(Array.from(p, (v, i) => (v + 128) * 256 + q[i]! + 128));
        expect(states.size).toBe(65536);
        // And its inverse leads back.
        const b0 = arithmetic.remove(b, G(a), { times: 1 }, memory).stream;
        const a0 = arithmetic.remove(a, F(b0), { times: 1 }, memory).stream;
        expect(a0.dataSync()).toEqual(start[0].dataSync());
        expect(b0.dataSync()).toEqual(start[1].dataSync());
      }),
    ),
    runs(8),
  );
});
