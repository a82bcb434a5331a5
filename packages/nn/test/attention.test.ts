import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, expectNoLeak, type HostData, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { expectClose } from "@revnet-zero/testkit";
import { expect, test } from "vitest";
import { Attention, KeyValueCache } from "../src/index.ts";

const engine = new Engine(new CpuBackend());
const key = randomKey(11);
const input = (batch: number, time: number, dim: number): Tensor =>
  randomNormal([batch, time, dim], { key: randomKey(12), engine });

test("grouped-query attention is multi-head attention with repeated key and value heads, bit for bit", () => {
  engine.scope(() => {
    const [dim, headDim, time] = [8, 4, 6];
    const grouped = new Attention({ dim, numHeads: 4, numKeyValueHeads: 2, headDim, rotary: true, key, engine });
    const full = new Attention({ dim, numHeads: 4, headDim, rotary: true, key, engine });
    const rows = grouped.qkv.weight.detach().reshape([8, headDim, dim]);
    const repeat = (from: number): Tensor[] => [0, 0, 1, 1].map((h) => rows.narrow(0, from + h, 1));
    const [first, ...others] = [rows.narrow(0, 0, 4), ...repeat(4), ...repeat(6)];
    full.qkv.weight.assign(first!.concat(others, 0).reshape([12 * headDim, dim]));
    full.out.weight.assign(grouped.out.weight.detach());
    const x = input(2, time, dim);
    expect(grouped.call(x).dataSync()).toEqual(full.call(x).dataSync());
    grouped.dispose();
    full.dispose();
  });
});

test.each([
  { rotary: false, window: undefined },
  { rotary: true, window: undefined },
  { rotary: 500, window: 3 },
])("with a cache, steps one by one and in pieces give what all at once gives (%o)", ({ rotary, window }) => {
  const [dim, time] = [8, 9];
  engine.scope(() =>
    engine.noGrad(() => {
      const shared = { dim, numHeads: 4, numKeyValueHeads: 2, rotary, key, engine, dtype: "f64" } as const;
      const layer = new Attention({ ...shared, ...(window === undefined ? {} : { window }) });
      const x = randomNormal([2, time, dim], { key: randomKey(12), engine, dtype: "f64" });
      const whole = layer.call(x);
      for (const pieces of [new Array<number>(time).fill(1), [4, 1, 3, 1], [time]]) {
        const cache = new KeyValueCache({
          batch: 2,
          numKeyValueHeads: 2,
          length: time,
          headDim: 2,
          engine,
          dtype: "f64",
        });
        let start = 0;
        for (const size of pieces) {
          const y = layer.call(x.narrow(1, start, size), { cache });
          expectClose(y.dataSync(), { exact: whole.narrow(1, start, size).dataSync(), dtype: "f64", factor: 32 });
          start += size;
        }
        expect(cache.length).toBe(time);
        cache.dispose();
      }
      layer.dispose();
    }),
  );
});

test("the cache is written in place: an append allocates nothing, and leaves nothing behind", () => {
  expectNoLeak(engine, () => {
    const cache = new KeyValueCache({ batch: 1, numKeyValueHeads: 2, length: 8, headDim: 2, engine });
    const [k, v] = [randomNormal([1, 2, 1, 2], { key, engine }), randomNormal([1, 2, 1, 2], { key, engine })];
    const before = engine.memory().liveBytes;
    engine.ledger.resetPeak();
    for (let i = 0; i < 8; i++) {
      engine.scope(() => {
        const { keys } = cache.append(k, v);
        expect(keys.narrow(2, i, 1).dataSync()).toEqual(k.dataSync());
      });
    }
    // The copies that reading makes, and nothing else.
    expect(engine.memory().peakBytes - before).toBeLessThanOrEqual(k.bytes);
    expect(() => cache.append(k, v)).toThrow("8 + 1 steps exceed its 8");
    for (const t of [k, v]) t.dispose();
    cache.dispose();
  });
});

test("the cache refuses to be differentiated through, and can start anew", () => {
  engine.scope(() => {
    const layer = new Attention({ dim: 4, numHeads: 2, key, engine });
    const cache = new KeyValueCache({ batch: 1, numKeyValueHeads: 2, length: 2, headDim: 2, engine });
    const x = input(1, 1, 4);
    const next = (): HostData => engine.noGrad(() => layer.call(x, { cache })).dataSync();
    expect(() => layer.call(x, { cache })).toThrow("generate in engine.noGrad");
    const first = next();
    next();
    cache.clear();
    expect(next()).toEqual(first);
    expect(cache.length).toBe(1);
    cache.dispose();
    layer.dispose();
  });
});

test("later steps do not reach earlier ones under a causal mask", () => {
  engine.scope(() => {
    const layer = new Attention({ dim: 4, numHeads: 2, rotary: true, key, engine });
    const x = input(1, 6, 4);
    const changed = x.writeSlice(input(1, 1, 4), [0, 5, 0]);
    const [a, b] = [layer.call(x), layer.call(changed)];
    expect(b.narrow(1, 0, 5).dataSync()).toEqual(a.narrow(1, 0, 5).dataSync());
    expect(b.narrow(1, 5, 1).dataSync()).not.toEqual(a.narrow(1, 5, 1).dataSync());
    layer.dispose();
  });
});

test("wrong shapes and options are refused with the way out", () => {
  const make = (options: object): Attention => new Attention({ dim: 8, numHeads: 4, key, engine, ...options });
  expect(() => make({ numHeads: 3 })).toThrow("headDim is 2.66");
  expect(() => make({ numKeyValueHeads: 3 })).toThrow("make numHeads a multiple of numKeyValueHeads");
  expect(() => make({ headDim: 3, rotary: true })).toThrow("even headDim");
  engine.scope(() => {
    const layer = make({});
    expect(() => layer.call(input(1, 3, 8).squeeze(0))).toThrow("needs [batch, time, dim], got [3, 8] f32");
    layer.dispose();
    const [q, k] = [input(2, 5, 4).unsqueeze(0), input(2, 3, 4).unsqueeze(0)];
    expect(() => q.attention(k, k, { isCausal: true })).toThrow("with a causal mask the first 2 queries see no key");
  });
});

test.each([false, true])("backward keeps queries, keys and values once (rotary: %s)", (rotary) => {
  engine.scope(() => {
    const [dim, time, numHeads] = [16, 32, 4];
    const layer = new Attention({ dim, numHeads, rotary, key, engine });
    const x = input(1, time, dim);
    const y = layer.call(x.requireGrad());
    // Beside them: the input, attention's output in both layouts, its log-sum-exp, the places.
    const activation = dim * time * 4;
    const rest = 3 * activation + numHeads * time * 4 + (rotary ? time * 4 : 0);
    expect(engine.memory().live.saved).toBe(3 * activation + rest);
    y.sum().backward();
    layer.dispose();
  });
});
