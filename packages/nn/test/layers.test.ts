import { CpuBackend } from "@revnet-zero/backend-cpu";
import { MetaBackend } from "@revnet-zero/backend-meta";
import {
  type DType,
  Engine,
  expectNoLeak,
  type HostData,
  numel,
  randomKey,
  type Tensor,
  tensor,
} from "@revnet-zero/tensor";
import { expectBitEqual, expectClose, gradcheck, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rowsOf } from "./formulas.ts";
import { type LayerCase, layerCases, type Weights } from "./layerCases.ts";

const engine = new Engine(new CpuBackend());
const key = randomKey(7);

function inputOf(layer: LayerCase, dtype: DType, on: Engine = engine): Tensor {
  const random = new Random(3);
  const { vocabulary, input } = layer;
  const values = Array.from({ length: numel(input) }, () =>
    vocabulary === undefined ? random.between(-2, 2) : random.integer(0, vocabulary - 1),
  );
  return tensor(values, { shape: input, dtype: vocabulary === undefined ? dtype : "i32", engine: on });
}

/**
 * Holds a layer against its formula, with the parameters and input it has: within 64 roundoffs of its terms, whose
 * size is what the formula makes of absolute values.
 */
function compare(layer: LayerCase, dtype: DType): void {
  engine.scope(() => {
    const module = layer.make({ key, engine, dtype });
    const x = inputOf(layer, dtype);
    const parameters = module.namedParameters();
    const weights: Weights = (name, width) => rowsOf(parameters.get(name)!.dataSync(), width);
    const sizes: Weights = (name, width) => weights(name, width).map((row) => row.map(Math.abs));
    const values = Array.from(x.dataSync());
    const exact = layer.formula(weights, values);
    const scale = Math.max(...layer.formula(sizes, values.map(Math.abs)), ...exact);
    expectClose(module.call(x).dataSync(), { exact, dtype, scale, factor: 32 });
    module.dispose();
  });
}

describe.each(Object.entries(layerCases))("%s", (_, arbitrary) => {
  const cases = arbitrary.map((layer) => Object.defineProperty(layer, fc.toStringMethod, { value: () => layer.text }));

  test.each<DType>(["f64", "f32"])("is its formula in %s, within 64 roundoffs of its terms", (dtype) => {
    fc.assert(
      fc.property(cases, (layer) => compare(layer, dtype)),
      runs(25),
    );
  });

  test("has the gradients of its formula by input and parameters", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (layer) => {
        const module = layer.make({ key, engine, dtype: "f64" });
        const x = inputOf(layer, "f64");
        await gradcheck((input) => module.call(input!), [x], { parameters: module.parameters(), elements: 3 });
        x.dispose();
        module.dispose();
      }),
      runs(5),
    );
  });

  test("starts with the same bits for the same key", () => {
    fc.assert(
      fc.property(cases, (layer) => {
        const start = (): [string, HostData][] => {
          const module = layer.make({ key, engine, dtype: "f32" });
          const values = [...module.stateDict()].map(([name, t]): [string, HostData] => [name, t.dataSync()]);
          module.dispose();
          return values;
        };
        const again = new Map(start());
        for (const [name, values] of start()) expectBitEqual(again.get(name)!, values, name);
      }),
      runs(10),
    );
  });

  test("leaks nothing: not forward, not backward, not the module", () => {
    fc.assert(
      fc.property(cases, (layer) => {
        expectNoLeak(engine, () => {
          const module = layer.make({ key, engine, dtype: "f32" });
          const x = inputOf(layer, "f32");
          expectNoLeak(engine, () => engine.noGrad(() => module.call(x)).dispose());
          engine.scope(() => module.call(x).sum().backward());
          module.zeroGrad();
          expectNoLeak(engine, () => {
            engine.scope(() => module.call(x).sum().backward());
            module.zeroGrad();
          });
          x.dispose();
          module.dispose();
        });
      }),
      runs(10),
    );
  });

  test("has the same memory ledger on the shape-only backend", () => {
    fc.assert(
      fc.property(cases, (layer) => {
        const peak = (on: Engine): unknown => {
          const module = layer.make({ key, engine: on, dtype: "f32" });
          const x = inputOf(layer, "f32", on);
          on.ledger.resetPeak();
          const y = module.call(x);
          on.scope(() => y.sum().backward());
          return on.memory();
        };
        expect(peak(new Engine(MetaBackend.like(engine.backend)))).toEqual(peak(new Engine(new CpuBackend())));
      }),
      runs(5),
    );
  });

  test("says so when it is called after dispose", () => {
    fc.assert(
      fc.property(cases, (layer) => {
        const module = layer.make({ key, engine, dtype: "f32" });
        const x = inputOf(layer, "f32");
        module.dispose();
        expect(() => module.call(x)).toThrow(/called after dispose\(\)\n {2}hint: /);
        x.dispose();
      }),
      runs(3),
    );
  });
});
