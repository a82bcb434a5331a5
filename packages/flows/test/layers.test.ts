import { expectNoLeak, type Tensor } from "@revnet-zero/tensor";
import { errorText, gradcheck, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ActNorm,
  AdditiveCoupling,
  AffineCoupling,
  ChannelPermutation,
  type FlowOutput,
  FlowSequence,
  Householder,
  InvertibleLinear,
  initialiseFromData,
  Logit,
  MultiScale,
} from "../src/index.ts";
import { engine, floats } from "./fixtures.ts";
import { build, kinds, names, recipes } from "./layers.ts";
import { bound, exactInverse, exactNames, farthest, promises, using } from "./properties.ts";

describe.each(names)("%s", (name) => {
  test.each(Object.entries(promises))("%s", (_, promise) => {
    fc.assert(promise(name), runs(20));
  });

  test("gradients of value and log-determinant, forward and inverse", async () => {
    const both =
      (f: (x: Tensor) => FlowOutput) =>
      (x: Tensor): Tensor[] => {
        const { value, logDeterminant } = f(x);
        return [value, logDeterminant];
      };
    for (const [i, shape] of [kinds[name].shapes[0]!, kinds[name].shapes.at(-2)!].entries()) {
      const { layer, batch } = build(name, shape, i);
      const x = batch(2);
      const options = { parameters: layer.parameters(), elements: 6 };
      await gradcheck(
        both((t) => layer.call(t)),
        [x],
        options,
      );
      const y = engine.noGrad(() => layer.call(x).value);
      await gradcheck(
        both((t) => layer.inverse(t)),
        [y],
        options,
      );
      layer.dispose();
    }
  });
});

test.each(exactNames)("%s: fixed-point streams come back bit for bit, whatever they hold", (name) => {
  fc.assert(exactInverse(name), runs(50));
});

describe("act norm", () => {
  test("after the first batch, that batch has mean 0 and variance 1 per channel", () => {
    fc.assert(
      fc.property(recipes("act norm"), ([shape, seed]) =>
        using("act norm", [shape, seed], ({ layer, batch }) => {
          const x = batch(50).mul(3).add(1);
          initialiseFromData(layer, () => layer.call(x));
          const { value } = layer.call(x);
          const others = value.shape.map((_, d) => d).filter((d) => d !== 1);
          expect(value.mean(others).abs().max().itemSync()).toBeLessThan(1e-12);
          expect(value.variance(others).sub(1).abs().max().itemSync()).toBeLessThan(1e-12);
          // And only that one.
          const scale = (layer as ActNorm).logScale.dataSync();
          layer.call(x.mul(2));
          expect((layer as ActNorm).logScale.dataSync()).toEqual(scale);
        }),
      ),
      runs(20),
    );
  });

  test("a constant channel is not blown up", () => {
    engine.scope(() => {
      const layer = new ActNorm({ channels: 2, engine });
      initialiseFromData(layer, () => layer.call(floats([4, 2], 1, "f32").mul(0).add(5)));
      expect(layer.logScale.exp().max().itemSync()).toBeLessThan(1001);
      layer.dispose();
    });
  });

  test("inside a sequence each sees what those before it made, in both modes", () => {
    engine.scope(() => {
      for (const mode of ["rebuild", "store"] as const) {
        const [a, b] = [0, 1].map(() => new ActNorm({ channels: 3, engine, dtype: "f64" }));
        const flow = new FlowSequence({ layers: [a!, b!], mode });
        const x = floats([40, 3], 2).mul(7);
        initialiseFromData(flow, () => flow.call(x));
        expect(a!.logScale.abs().min().itemSync()).toBeGreaterThan(0.5);
        // What comes out of the first is normal already.
        expect(b!.logScale.abs().max().itemSync()).toBeLessThan(1e-12);
        flow.dispose();
      }
    });
  });
});

test("householder: its matrix is orthogonal, and one reflection is one", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 9 }), (channels, reflections) =>
      expectNoLeak(engine, () => {
        const layer = new Householder({ channels, reflections, key: [channels, reflections], engine, dtype: "f64" });
        engine.scope(() => {
          const q = layer.matrix();
          expect(farthest(q.matmul(q.transpose()), layer.identity)).toBeLessThan(bound);
          const v = layer.directions.narrow(0, reflections - 1, 1);
          if (reflections === 1) expect(farthest(v.matmul(q), v.neg())).toBeLessThan(bound);
        });
        layer.dispose();
      }),
    ),
    runs(40),
  );
});

test("invertible linear starts as a rotation: it keeps lengths, and its determinant is ±1", () => {
  for (const channels of [1, 2, 3, 7, 16, 33]) {
    const layer = new InvertibleLinear({ channels, key: [channels, 1], engine, dtype: "f64" });
    engine.scope(() => {
      const w = layer.weight();
      expect(farthest(w.matmul(w.transpose()), layer.identity)).toBeLessThan(bound);
      expect(farthest(w.matmul(layer.inverseWeight()), layer.identity)).toBeLessThan(bound);
      expect(Math.abs(layer.logScale.sum().itemSync())).toBeLessThan(bound);
    });
    layer.dispose();
  }
});

test("affine coupling: scales stay within their bound", () => {
  engine.scope(() => {
    const huge = (b: Tensor): Tensor => b.mul(1e6).concat([b], 1);
    const layer = new AffineCoupling({ channels: 2, network: huge, scaleBound: 1.5 });
    const { logDeterminant } = layer.call(floats([50, 2], 3));
    expect(logDeterminant.abs().max().itemSync()).toBeLessThanOrEqual(1.5);
  });
});

test("errors name the layer, what came, and the call that works", () => {
  engine.scope(() => {
    const x = floats([2, 3], 1, "f32");
    const one = (b: Tensor): Tensor => b;
    expect(errorText(() => new ActNorm({ channels: 2, engine }).call(x))).toContain("ActNorm: cannot take [2, 3] f32");
    expect(errorText(() => new ActNorm({ channels: 3, engine }).call(x.cast("i32")))).toContain("dequantise");
    expect(errorText(() => new AffineCoupling({ channels: 1, network: one }))).toContain("at least 2");
    expect(errorText(() => new AffineCoupling({ channels: 3, network: one, scaleBound: 0 }))).toContain("scaleBound");
    const text = errorText(() => new AffineCoupling({ channels: 3, network: (b) => b.sum(1) }).call(x));
    expect(text).toContain("AffineCoupling: the network returned [2] f32 for [2, 2] f32");
    expect(text).toContain("it must return [2, 2]: 2 for every moved channel");
    expect(errorText(() => new AffineCoupling({ channels: 3, network: one }).call(x.cast("i32")))).toContain(
      "dequantise",
    );
    expect(errorText(() => new AdditiveCoupling({ channels: 4, network: one }).call(x))).toContain("give [batch, 4]");
    expect(errorText(() => new ChannelPermutation({ order: [0, 2], engine }))).toContain(
      "name each of 0, 1, ..., c - 1 once",
    );
    expect(errorText(() => new Logit({ alpha: 0.5 }))).toContain("between 0 and 0.5");
    expect(errorText(() => new FlowSequence({ layers: [], engine }))).toContain("at least one");
    expect(errorText(() => new MultiScale([]))).toContain("at least one scale");
    const layers = [new Logit()];
    expect(errorText(() => new FlowSequence({ layers, mode: "float" as "store", engine }))).toContain(
      "rebuild or store",
    );
    expect(errorText(() => new MultiScale([{ transform: layers[0]!, shape: [5] }]).call(x))).toContain("scale 0 gave");
    expect(errorText(() => new Householder({ channels: 0, key: [1, 1], engine }))).toContain("channels is 0");
  });
});
