import { dispatch, Engine, ops, type Tensor, tensor } from "@revnet-zero/tensor";
import { expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, test } from "vitest";
import { ReferenceBackend, tierNames } from "../src/index.ts";
import { backendOf } from "./tier.fixture.ts";

const BITS = 20;
/** Units: halves and their neighbours, both sides of 2^22, where rounding by an added number ends, and of what saturates. */
const increments = fc.oneof(
  { weight: 20, arbitrary: fc.integer({ min: -4000, max: 4000 }).map((n) => n / 2) },
  { weight: 6, arbitrary: fc.double({ min: -5e6, max: 5e6, noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(0.5, 1.5, 2.5, -0.5, -1.5, 4194303.5, -4194303.5, 4194304, -4194304, -0) },
  { weight: 1, arbitrary: fc.constantFrom(8388609, 2 ** 31, -(2 ** 31), 2 ** 40, Infinity, -Infinity, Number.NaN) },
);
const streams = fc.oneof(
  { weight: 20, arbitrary: fc.integer({ min: -(2 ** 29), max: 2 ** 29 }) },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 30 - 1, 2 ** 30, -(2 ** 30), -(2 ** 30) - 1, 2 ** 31 - 1, -(2 ** 31)) },
);
const rows = fc.integer({ min: 1, max: 70 }).chain((size) =>
  fc.record({
    size: fc.constant(size),
    sign: fc.constantFrom(1 as const, -1 as const),
    isPlain: fc.boolean(),
    stream: fc.array(streams, { minLength: 3 * size, maxLength: 3 * size }),
    units: fc.array(increments, { minLength: 3 * size, maxLength: 3 * size }),
  }),
);

describe.each(tierNames)("tier %s", (tier) => {
  test("a fixed-point step, alone and with the norm behind it, has the reference's sums and counts", () => {
    const backend = backendOf(tier);
    if (backend === undefined) return;
    const [engine, reference] = [new Engine(backend), new Engine(new ReferenceBackend())];
    fc.assert(
      fc.property(rows, ({ size, sign, isPlain, stream, units }) => {
        const attrs = { fractionBits: BITS, sign, row: 1 };
        // What was counted before stays, and is added to.
        const record = (e: Engine): Tensor => tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3], dtype: "i32", engine: e });
        // Rows of ordinary numbers alone take the short way.
        const f = Float32Array.from(units, (u) => (isPlain && !(Math.abs(u) < 1e6) ? 0 : u) * 2 ** -BITS);
        const step = (e: Engine): readonly Tensor[] =>
          dispatch(
            e,
            ops.fixedPointAdd,
            [
              tensor(Int32Array.from(stream), { shape: [3, size], engine: e }),
              tensor(f, { shape: [3, size], engine: e }),
              record(e),
            ],
            attrs,
          );
        engine.scope(() =>
          reference.scope(() => {
            const expected = step(reference).map((t) => t.dataSync());
            const [sum, counts] = step(engine) as [Tensor, Tensor];
            expectBitEqual(sum.dataSync(), expected[0]!, "sums");
            expectBitEqual(counts.dataSync(), expected[1]!, "counts");
            const [scale, shift] = [1, 2].map((k) =>
              tensor(
                Float32Array.from({ length: size }, (_, i) => Math.sin(k * i)),
                { engine },
              ),
            ) as [Tensor, Tensor];
            for (const parameters of [[scale, shift], [scale]]) {
              const inputs = [
                tensor(Int32Array.from(stream), { shape: [3, size], engine }),
                tensor(f, { shape: [3, size], engine }),
                ...parameters,
                record(engine),
              ];
              const fused = dispatch(engine, ops.fixedPointAddNorm, inputs, { ...attrs, eps: 1e-5 });
              const norm = parameters.length === 2 ? ops.layerNorm : ops.rmsNorm;
              const apart = dispatch(engine, norm, [sum.dequantise(BITS), ...parameters], { eps: 1e-5 });
              expectBitEqual(fused[0]!.dataSync(), expected[0]!, "sums with a norm");
              expectBitEqual(fused.at(-1)!.dataSync(), expected[1]!, "counts with a norm");
              for (const [i, t] of apart.entries())
                expectBitEqual(fused[1 + i]!.dataSync(), t.dataSync(), `output ${i} of the norm`);
            }
          }),
        );
      }),
      runs(60),
    );
  });
});
