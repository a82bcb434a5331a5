import { AdamW } from "@revnet-zero/optim";
import { affine, ReversibleSequence } from "@revnet-zero/reversible";
import { foldKey, type HostData, type Key, randomKey, type Tensor, ValueError } from "@revnet-zero/tensor";
import { errorText, expectBitEqual } from "@revnet-zero/testkit";
import { describe, expect, type TestContext, test } from "vitest";
import {
  AffineCoupling,
  denseConditioner,
  type FlowSequence,
  NormalizingFlow,
  nice,
  OnFixedPoint,
  StandardLogistic,
  StandardNormal,
  StreamCouplings,
} from "../src/index.ts";
import { engine, floats } from "./fixtures.ts";
import { massOf, moons } from "./plane.ts";

/** Moves what starts at zero. */
function jiggle(parameters: readonly Tensor[], seed: number, size = 0.2): void {
  engine.scope(() => {
    for (const p of parameters) p.detach().assign(p.detach().add(floats(p.shape, seed, "f32").mul(size)));
  });
}

/** The value of a scalar and all gradients, which are then dropped. */
function gradientsOf(flow: NormalizingFlow, x: Tensor): HostData[] {
  return engine.scope(() => {
    const loss = flow.loss(x);
    loss.backward();
    const found = [loss.dataSync(), ...flow.parameters().map((p) => p.grad!.dataSync())];
    flow.zeroGrad();
    return found;
  });
}

describe("nice", () => {
  const make = (couplings: number) => {
    const transform = nice({ dim: 4, couplings, hidden: 16, key: randomKey(1), engine });
    const { inner } = transform.layers[0] as OnFixedPoint;
    const flow = new NormalizingFlow({ transform, base: new StandardLogistic({ shape: [4], engine }) });
    jiggle(flow.parameters(), 2);
    return { flow, streams: inner as FlowSequence };
  };

  test("its gradients are those of stored backpropagation, bit for bit, at any depth", () => {
    for (const couplings of [1, 2, 9, 40]) {
      const { flow, streams } = make(couplings);
      const x = floats([64, 4], couplings, "f32");
      const rebuilt = gradientsOf(flow, x);
      streams.mode = "store";
      gradientsOf(flow, x).forEach((expected, i) => {
        expectBitEqual(rebuilt[i]!, expected, `result ${i}`);
      });
      flow.dispose();
      x.dispose();
    }
  });

  test("activations do not grow with depth", () => {
    const bytes = (couplings: number): number => {
      const { flow } = make(couplings);
      const x = floats([512, 4], 1, "f32");
      engine.ledger.resetPeak();
      engine.scope(() => flow.loss(x).backward());
      const { activationBytes } = engine.memory();
      flow.dispose();
      x.dispose();
      return activationBytes;
    };
    expect(bytes(30)).toBe(bytes(6));
  });

  test("trained on two moons its density integrates to 1 within 1e-3", () => {
    const transform = nice({ dim: 2, couplings: 6, hidden: 32, key: randomKey(3), engine });
    const flow = new NormalizingFlow({ transform, base: new StandardLogistic({ shape: [2], engine }) });
    using optimizer = new AdamW(flow.parameters(), { learningRate: 3e-3, weightDecay: 0 });
    const losses: number[] = [];
    for (let i = 0; i < 150; i++) {
      losses.push(
        engine.scope(() => {
          const loss = flow.loss(moons(256, i));
          loss.backward();
          return loss.itemSync();
        }),
      );
      optimizer.step();
      flow.zeroGrad();
    }
    expect(losses.at(-1)).toBeLessThan(losses[0]! - 0.5);
    // The logistic's tails are long.
    expect(Math.abs(massOf(flow, 600, 24) - 1)).toBeLessThan(1e-3);
    flow.dispose();
  });

  test("errors name the call that works", () => {
    const inner = nice({ dim: 2, couplings: 1, hidden: 2, key: randomKey(1), engine });
    expect(errorText(() => new OnFixedPoint({ inner, fractionBits: 31 }))).toContain("from 0 to 30");
    inner.dispose();
  });
});

/** Runs what scales fixed-point streams, which needs arithmetic with an information buffer; skips the test where there is none. */
function orSkip<T>(context: TestContext, f: () => T): T {
  try {
    return f();
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    return context.skip(`fixed-point streams cannot be scaled: ${error.message.split("\n")[0]}`);
  }
}

describe("couplings of streams", () => {
  const [dim, depth] = [6, 4];
  const network = (key: Key) => denseConditioner({ in: dim / 2, out: dim, hidden: 8, key, engine });
  const networks = Array.from({ length: 2 * depth }, (_, i) => network(foldKey(randomKey(5), i)));
  for (const n of networks) jiggle(n.parameters(), 1, 0.05);
  const blocks = Array.from({ length: depth }, (_, i) => affine({ F: networks[2 * i]!, G: networks[2 * i + 1]! }));
  const streams = (mode: "exact" | "float" | "store" | "store-float"): StreamCouplings =>
    new StreamCouplings({ sequence: new ReversibleSequence({ blocks, mode, engine }) });

  test("samples come back through the inverse, and the log-determinants cancel", () => {
    engine.scope(() => {
      const layer = streams("float");
      const x = floats([20, dim], 1, "f32");
      const y = layer.call(x);
      const back = layer.inverse(y.value);
      // float32 of values up to 4, through eight scales.
      const bound = 2 ** -16;
      expect(back.value.sub(x).abs().max().itemSync()).toBeLessThan(bound);
      expect(back.logDeterminant.add(y.logDeterminant).abs().max().itemSync()).toBeLessThan(bound);
      expect(layer.sequence.mode).toBe("float");
    });
  });

  test("in exact mode gradients, the log-determinant's included, are those of store, bit for bit", (context) => {
    const gradients = (mode: "exact" | "store"): HostData[] => {
      const flow = new NormalizingFlow({
        transform: streams(mode),
        base: new StandardLogistic({ shape: [dim], engine }),
      });
      return gradientsOf(flow, floats([32, dim], 2, "f32"));
    };
    const exact = orSkip(context, () => gradients("exact"));
    const stored = gradients("store");
    exact.forEach((found, i) => {
      expectBitEqual(found, stored[i]!, `result ${i}`);
    });
  });

  test("trained in exact mode on two moons the density integrates to 1 within 1e-3", (context) => {
    const blocks = Array.from({ length: 4 }, (_, i) => {
      const network = (half: number) => denseConditioner({ in: 1, out: 2, hidden: 32, key: [i, half], engine });
      return affine({ F: network(0), G: network(1) });
    });
    // 14 bits of fraction leave room for points far out, which the scales take further.
    const sequence = new ReversibleSequence({ blocks, mode: "exact", fractionBits: 14, engine });
    const transform = new StreamCouplings({ sequence });
    const flow = new NormalizingFlow({ transform, base: new StandardNormal({ shape: [2], engine }) });
    using optimizer = new AdamW(flow.parameters(), { learningRate: 3e-3, weightDecay: 0 });
    for (let i = 0; i < 100; i++) {
      orSkip(context, () => engine.scope(() => flow.loss(moons(256, i)).backward()));
      optimizer.step();
      flow.zeroGrad();
    }
    expect(Math.abs(massOf(flow, 400, 10) - 1)).toBeLessThan(1e-3);
    flow.dispose();
  });

  test("they are the affine couplings of flow layers, with other halves and another bound's form", () => {
    engine.scope(() => {
      const x = floats([10, dim], 3, "f32");
      const found = streams("store-float").call(x);
      // The same by hand: streams scaled by exp(2 tanh(raw / 2)).
      let [a, b] = x.split(2, 1) as [Tensor, Tensor];
      let logDeterminant: Tensor | undefined;
      for (let i = 0; i < depth; i++) {
        for (const n of [networks[2 * i]!, networks[2 * i + 1]!]) {
          const coupling = new AffineCoupling({
            channels: dim,
            // c·tanh(raw / c) as c·tanh(raw'), raw' = raw / c on the scale half.
            network: (kept: Tensor) => {
              const [raw, shift] = n.call(kept).split(2, 1) as [Tensor, Tensor];
              return raw.mul(0.5).concat([shift], 1);
            },
          });
          const y = coupling.call(a.concat([b], 1));
          const [moved, kept] = y.value.split(2, 1) as [Tensor, Tensor];
          logDeterminant = logDeterminant?.add(y.logDeterminant) ?? y.logDeterminant;
          [a, b] = [kept, moved];
        }
      }
      expect(
        found.value
          .sub(a.concat([b], 1))
          .abs()
          .max()
          .itemSync(),
      ).toBeLessThan(2 ** -16);
      expect(found.logDeterminant.sub(logDeterminant!).abs().max().itemSync()).toBeLessThan(2 ** -16);
    });
  });

  test("an odd number of channels is refused, with what to give", () => {
    engine.scope(() => {
      const layer = streams("float");
      expect(errorText(() => layer.call(floats([2, 3], 1, "f32")))).toContain("an even number of channels");
    });
  });
});
