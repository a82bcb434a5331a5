import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, type HostData, randomKey } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Initializer, initializers, Linear, MLP } from "../src/index.ts";

const engine = new Engine(new CpuBackend());
const shape = [200, 50];

function draw(init: Initializer, seed: number): HostData {
  return engine.scope(() => init(shape, { key: randomKey(seed), dtype: "f32", engine }).dataSync());
}

function deviation(values: HostData): number {
  return Math.hypot(...values) / Math.sqrt(values.length);
}

const [out, inputs] = shape as [number, number];
const cases: readonly {
  readonly name: string;
  readonly init: Initializer;
  readonly std: number;
  readonly bound: number;
}[] = [
  { name: "normal()", init: initializers.normal(), std: 0.02, bound: 0.02 * 6 },
  { name: "normal(3)", init: initializers.normal(3), std: 3, bound: 3 * 6 },
  { name: "residualNormal(8)", init: initializers.residualNormal(8), std: 0.02 / 4, bound: 0.02 * 2 },
  { name: "uniform(0.5)", init: initializers.uniform(0.5), std: 0.5 / Math.sqrt(3), bound: 0.5 },
  // Glorot: variance 2 / (in + out). He: variance 2 / in.
  {
    name: "xavierUniform()",
    init: initializers.xavierUniform(),
    std: Math.sqrt(2 / (inputs + out)),
    bound: Math.sqrt(6 / (inputs + out)),
  },
  {
    name: "kaimingUniform()",
    init: initializers.kaimingUniform(),
    std: Math.sqrt(2 / inputs),
    bound: Math.sqrt(6 / inputs),
  },
];

test.each(cases)("$name has its deviation (within 5 %) and range", ({ init, std, bound }) => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const values = draw(init, seed);
      expect(deviation(values) / std).toBeGreaterThan(0.95);
      expect(deviation(values) / std).toBeLessThan(1.05);
      expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(Math.fround(bound));
    }),
    runs(5),
  );
});

test.each(cases)("$name: the key decides every bit", ({ init }) => {
  expect(draw(init, 1)).toEqual(draw(init, 1));
  expect(draw(init, 2)).not.toEqual(draw(init, 1));
});

test("kaimingUniform counts the receptive field of a convolution", () => {
  engine.scope(() => {
    const values = initializers
      .kaimingUniform()([8, 4, 5, 5], { key: randomKey(1), dtype: "f32", engine })
      .dataSync();
    expect(deviation(values) / Math.sqrt(2 / (4 * 25))).toBeCloseTo(1, 1);
  });
});

test("Linear starts uniform in ±1/sqrt(in) with bias 0", () => {
  const layer = new Linear({ in: 16, out: 500, key: randomKey(1), engine });
  const values = layer.weight.dataSync();
  expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(0.25);
  expect(Math.max(...values.map(Math.abs))).toBeGreaterThan(0.249);
  expect(layer.bias!.dataSync().every((v) => v === 0)).toBe(true);
  layer.dispose();
});

test("layers of one key differ from one another; the last projection is scaled by the depth", () => {
  const mlp = new MLP({ dim: 64, kind: "swiglu", layers: 32, key: randomKey(1), engine });
  expect(mlp.gate!.weight.dataSync()).not.toEqual(mlp.up.weight.dataSync());
  expect(deviation(mlp.up.weight.dataSync()) / 0.02).toBeCloseTo(1, 1);
  expect(deviation(mlp.down.weight.dataSync()) / (0.02 / 8)).toBeCloseTo(1, 1);
  mlp.dispose();
});

test("gated MLPs have as many weights as the plain one, to within 8 hidden units", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), (dim) => {
      const count = (kind: "gelu" | "swiglu"): number => {
        const mlp = new MLP({ dim, kind, bias: false, key: randomKey(1), engine });
        const n = mlp.parameterCount();
        mlp.dispose();
        return n;
      };
      expect(Math.abs(count("swiglu") - count("gelu"))).toBeLessThanOrEqual(3 * 8 * dim);
    }),
    runs(10),
  );
});

test("sizes that are no positive integers are refused", () => {
  expect(() => new Linear({ in: 0, out: 2, key: randomKey(1), engine })).toThrow("Linear: in is 0");
  expect(() => new MLP({ dim: 1.5, key: randomKey(1), engine })).toThrow("MLP: dim is 1.5");
});
