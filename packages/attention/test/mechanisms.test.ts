import { CpuBackend } from "@revnet-zero/backend-cpu";
import { ContinuousDepthBlock, checkReversible, ReversibleSequence } from "@revnet-zero/reversible";
import { type DType, Engine, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { expectBitEqual, expectBitEqualTensors, gradcheck } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import {
  HierarchicalReversibleAttention,
  type HierarchicalReversibleAttentionOptions,
  type Mechanism,
  MechanismAttention,
} from "../src/index.ts";
import { causalMechanisms, distance, engine, noise, operands } from "./fixtures.ts";

const layer = (mechanism: Mechanism, key = 1): MechanismAttention =>
  new MechanismAttention({ dim: 8, numHeads: 2, numKeyValueHeads: 1, rotary: true, mechanism, key: randomKey(key) });

describe.each(Object.entries(causalMechanisms))("%s", (name, make: (dtype: DType) => Mechanism) => {
  test("shows no query what comes after it: earlier outputs keep their bits", async () => {
    const mechanism = make("f32");
    const scope = engine.openScope("causality");
    const time = 29;
    const inputs = operands(time, { keyHeads: 1 });
    const before = mechanism.call(...inputs);
    for (const cut of [1, 7, 20]) {
      const changed = inputs.map((x, i) => {
        const later = noise(50 + i, [x.shape[0]!, x.shape[1]!, time - cut, x.shape[3]!]).mul(3);
        return x.writeSlice(later, [0, 0, cut, 0]);
      }) as [Tensor, Tensor, Tensor];
      const after = mechanism.call(...changed);
      await expectBitEqualTensors(
        after.narrow(2, 0, cut).clone(),
        before.narrow(2, 0, cut).clone(),
        `${name} before ${cut}`,
      );
    }
    scope.close();
  });

  test("has the gradients that differences give", async () => {
    const mechanism = make("f64");
    for (const p of mechanism.parameters()) p.assign(randomNormal(p.shape, { key: randomKey(p.size), dtype: "f64" }));
    await gradcheck((q, k, v) => [mechanism.call(q!, k!, v!)], operands(17, { keyHeads: 1, dtype: "f64" }), {
      elements: 6,
    });
  });

  test("computes under autocast to bfloat16 what it computes in float32, forward and backward", () => {
    const mechanism = make("f32");
    engine.scope(() => {
      const run = (dtype: DType): Tensor[] => {
        const leaves = operands(70, { keyHeads: 1 }).map((x) => x.cast("bf16").cast(dtype).detach().requireGrad());
        const [q, k, v] = leaves as [Tensor, Tensor, Tensor];
        const y = dtype === "bf16" ? engine.autocast("bf16", () => mechanism.call(q, k, v)) : mechanism.call(q, k, v);
        y.cast("f32").sum().backward();
        return [y, ...leaves.map((x) => x.grad!)].map((x) => x.detach().cast("f32"));
      };
      const [low, full] = [run("bf16"), run("f32")];
      for (const [i, x] of full.entries()) {
        const largest = x.abs().max().itemSync();
        // What is recalled may be chosen otherwise where two scores are close.
        expect(distance(low[i]!, x)).toBeLessThan((name.includes("recalling") ? 1 : 0.05) * largest);
      }
    });
  });

  test("has the same bits again, forward and backward", async () => {
    const mechanism = make("f32");
    const scope = engine.openScope("twice");
    const run = (): Tensor[] => {
      const [q, k, v] = operands(130, { keyHeads: 1 }).map((x) => x.requireGrad()) as [Tensor, Tensor, Tensor];
      const y = mechanism.call(q, k, v);
      y.square().sum().backward();
      return [y, q.grad!, k.grad!, v.grad!];
    };
    const [first, second] = [run(), run()];
    for (const [i, x] of first.entries()) await expectBitEqualTensors(second[i]!, x, `${name}, output ${i}`);
    scope.close();
  });

  test("in a reversible block: reconstruction and gradients are those of stored backpropagation, bit for bit", async () => {
    const G = (x: Tensor): Tensor => x.tanh();
    const sequence = new ReversibleSequence({ blocks: [1, 2].map((key) => ({ F: layer(make("f32"), key), G })) });
    const shape = [1, 26, 8];
    const report = await checkReversible(
      sequence,
      [noise(1, shape), noise(2, shape)],
      [noise(3, shape), noise(4, shape)],
    );
    expect(report.firstDifference).toBeUndefined();
    expect(report.reconstructionBitEqual && report.gradientsBitEqual).toBe(true);
  });

  test("is a vector field of continuous depth, with the gradients of stored steps", () => {
    const block = new ContinuousDepthBlock({ f: layer(make("f32")), tolerance: 3e-2 });
    const gradients = (["exact", "store"] as const).map((mode) =>
      engine.scope(() => {
        block.mode = mode;
        block.zeroGrad();
        const x = noise(1, [1, 40, 8]).requireGrad();
        block.call(x).square().sum().backward();
        return [x, ...block.parameters()].map((p) => Float32Array.from(p.grad!.dataSync()));
      }),
    );
    for (const [i, g] of gradients[0]!.entries()) expectBitEqual(g, gradients[1]![i]!, `gradient ${i}`);
  });
});

test("threads change no bit of hierarchical attention", async () => {
  const results = [1, 2, 3].map((threads) => {
    const on = new Engine(new CpuBackend({ threads }));
    const attention = new HierarchicalReversibleAttention({
      ...{ dModel: 8, numHeads: 2, numKeyValueHeads: 1, leafSize: 16, compressionRatios: [4], extendLevels: true },
      ...{ levelBias: true, key: randomKey(1), engine: on },
    });
    const x = randomNormal([1, 700, 8], { key: randomKey(2), engine: on }).requireGrad();
    attention.call(x).square().sum().backward();
    return [x.grad!, ...attention.parameters().map((p) => p.grad!)];
  });
  for (const other of results.slice(1))
    for (const [i, g] of other.entries()) expectBitEqual(await g.data(), await results[0]![i]!.data(), `gradient ${i}`);
});

describe("hierarchical reversible attention", () => {
  const options: HierarchicalReversibleAttentionOptions = {
    ...{ dModel: 8, numHeads: 2, numKeyValueHeads: 1, leafSize: 4, compressionRatios: [2, 4], extendLevels: true },
    ...{ rotary: true, levelBias: true, key: randomKey(3) },
    pooling: "learned",
  };

  test("step by step with a cache gives what the whole sequence gives, on O(log n) rows", () => {
    const attention = new HierarchicalReversibleAttention(options);
    for (const p of attention.parameters()) p.assign(randomNormal(p.shape, { key: randomKey(p.size), std: 0.5 }));
    engine.noGrad(() => {
      const x = noise(1, [2, 190, 8]);
      const whole = attention.call(x).dataSync();
      for (const prefill of [1, 75]) {
        const cache = attention.cache(2);
        const parts: Tensor[] = [attention.call(x.narrow(1, 0, prefill), { cache })];
        for (let i = prefill; i < 190; i++) parts.push(attention.call(x.narrow(1, i, 1), { cache }));
        const steps = parts[0]!.concat(parts.slice(1), 1).dataSync();
        for (const [i, y] of steps.entries()) expect(Math.abs(y - whole[i]!)).toBeLessThan(1e-5);
        expect(cache.length).toBe(190);
        // 2 r + 1 leaves and 2 r leaves a level, r = 2; levels up to 2 · ratio < 48 blocks.
        expect(cache.rows).toBeLessThanOrEqual(4 * 5 + 4 * 4 * 4);
        cache.dispose();
      }
    });
  });

  test("says what it refuses", () => {
    expect(() => new HierarchicalReversibleAttention({ ...options, numLevels: 1 })).toThrow("numLevels is 1");
    const both = { ...options, isCausal: false, recall: { topK: 1 } };
    expect(() => new HierarchicalReversibleAttention(both)).toThrow("goes back, and isCausal is false");
    expect(() => new HierarchicalReversibleAttention({ ...options, recall: { topK: 1, level: 9 } })).toThrow(
      "level is 9",
    );
    expect(() => new HierarchicalReversibleAttention({ ...options, isCausal: false }).cache()).toThrow(
      "what is to come",
    );
    const recalling = new HierarchicalReversibleAttention({ ...options, recall: { topK: 1, level: 1 } });
    expect(() => recalling.cache()).toThrow("recalled tokens are not among the summaries");
  });

  test("what is recalled is chosen once: the second run is given the first one's choice", () => {
    const recalling = new HierarchicalReversibleAttention({ ...options, recall: { topK: 1, level: 1 } });
    const chosen: Int32Array[] = [];
    let choices = 0;
    const remember = engine.remember;
    engine.remember = (choose) => {
      const t = remember.call(engine, () => {
        choices++;
        return choose();
      });
      chosen.push(Int32Array.from(t.dataSync() as Int32Array));
      return t;
    };
    try {
      engine.scope(() => {
        const sequence = new ReversibleSequence({ blocks: [{ F: recalling, G: (x: Tensor) => x.sin() }] });
        const [a, b] = [noise(1, [1, 60, 8]).requireGrad(), noise(2, [1, 60, 8]).requireGrad()];
        const [y1, y2] = sequence.call(a, b) as [Tensor, Tensor];
        y1.mul(y2).sum().backward();
      });
    } finally {
      engine.remember = remember;
    }
    expect({ choices, runs: chosen.length }).toEqual({ choices: 1, runs: 2 });
    expectBitEqual(chosen[1]!, chosen[0]!, "indices of the second run");
    expect(chosen[0]!.some((word) => word > 0)).toBe(true);
  });
});
