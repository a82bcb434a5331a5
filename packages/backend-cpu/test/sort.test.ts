import { Engine, type Tensor, tensor } from "@revnet-zero/tensor";
import { expectBitEqual } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CpuBackend, ReferenceBackend } from "../src/index.ts";

const reference = new Engine(new ReferenceBackend());
const cpu = new Engine(new CpuBackend({ threads: 1 }));

const value = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: -20, max: 20 }) },
  { weight: 3, arbitrary: fc.float() },
  { weight: 1, arbitrary: fc.constantFrom(-0, 0, Number.NaN, 2 ** 31, -(2 ** 31)) },
);
/** [outer, size, inner]: sizes on both sides of where counting digits begins. */
const sample = fc
  .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 90 }), fc.integer({ min: 1, max: 3 }))
  .chain(([outer, size, inner]) =>
    fc.record({
      shape: fc.constant([outer, size, inner]),
      values: fc.array(value, { minLength: outer * size * inner, maxLength: outer * size * inner }),
      dtype: fc.constantFrom("f32", "f16", "bf16", "i32", "i16", "i8", "u8", "bool", "f64"),
      descending: fc.boolean(),
      isSwapped: fc.boolean(),
    }),
  );
type Sample = typeof sample extends fc.Arbitrary<infer S> ? S : never;

function sorted(engine: Engine, { shape, values, dtype, descending, isSwapped }: Sample): Float32Array[] {
  return engine.scope(() => {
    const dense = tensor(Float32Array.from(values), { engine }).reshape(shape).cast(dtype);
    const x: Tensor = isSwapped ? dense.permute([2, 1, 0]) : dense;
    const { values: y, indices } = x.sort(1, { descending });
    const top = x.topk(Math.floor(shape[1]! / 2), 1);
    const every = x.topk(shape[1]!, 1);
    const tops = [top, every].flatMap((t) => [t.values.cast("f32"), t.indices]);
    const all = [y.cast("f64").cast("f32"), indices, ...tops];
    return all.map((t) => (t.dataSync() as Float32Array).map((v) => (Number.isNaN(v) ? Number.NaN : v)));
  });
}

test("sort and top-k of every type have the oracle's order, ties and NaN included", () => {
  fc.assert(
    fc.property(sample, (drawn) => {
      const wanted = sorted(reference, drawn);
      sorted(cpu, drawn).forEach((found, i) => {
        expectBitEqual(found, wanted[i]!, `output ${i}`);
      });
    }),
    { numRuns: 300 },
  );
});

test("a million elements are in order, with every position once", () => {
  cpu.scope(() => {
    const x = Float32Array.from({ length: 1_000_003 }, (_, i) => ((i * 2654435761) % 4294967291) / 1000 - 2e6);
    const { values, indices } = tensor(x, { engine: cpu }).sort(0);
    const [found, places] = [values.dataSync(), indices.dataSync()];
    const seen = new Uint8Array(x.length);
    let wrong = 0;
    for (let i = 0; i < x.length; i++) {
      const place = Number(places[i]);
      if (x[place] !== found[i] || seen[place] === 1) wrong++;
      seen[place] = 1;
      if (i > 0 && !(found[i - 1]! < found[i]! || (found[i - 1] === found[i] && Number(places[i - 1]) < place)))
        wrong++;
    }
    expect(wrong).toBe(0);
  });
});
