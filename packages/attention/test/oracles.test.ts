import { CpuBackend, ReferenceBackend } from "@revnet-zero/backend-cpu";
import { Engine, fromWords, ops, randomKey, type Tensor, zeros } from "@revnet-zero/tensor";
import { runs, wrapBackend } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  buildPyramid,
  denseAttention,
  eluFeatures,
  everyBlock,
  globalBlocks,
  Hierarchical,
  LinearAttention,
  logVisibility,
  makeLadder,
  maskList,
  meanPooling,
  namedTiles,
  patternList,
  RandomFeatureAttention,
  randomBlocks,
  sparseAttention,
  stridedBlocks,
  TileList,
  tiledAttention,
  together,
  windowBlocks,
} from "../src/index.ts";
import { distance, engine, noise, operands } from "./fixtures.ts";
import { ladderOptions } from "./ladders.ts";
import { CLOSE, expectSameFunction, f64, hierarchicalIsDense } from "./oracle.ts";

const scale = 0.5;

describe("lists", () => {
  const patterns = {
    causal: everyBlock,
    window: windowBlocks(1),
    "window and global": together(windowBlocks(1), globalBlocks(1)),
    strided: together(windowBlocks(0), stridedBlocks(3)),
    random: together(windowBlocks(0), randomBlocks({ count: 2, key: randomKey(1) })),
    "a user's tiles": namedTiles([
      [0, 0],
      [2, 0],
      [2, 1],
      [3, 3],
    ]),
  };
  test.each(Object.entries(patterns))("%s: what dense attention with the list's mask gives", (_, pattern) => {
    for (const isCausal of [true, false]) {
      const list = patternList(pattern, { queries: 22, blockSize: 6, isCausal });
      expectSameFunction(
        (q, k, v) => sparseAttention(q, k, v, list, { scale }).output,
        (q, k, v) => denseAttention(q, k, v, logVisibility(list, q), scale),
        operands(22, f64),
      );
    }
  });

  test("a causal pattern shows no query a later key, and of a full one every earlier key", () => {
    const list = patternList(everyBlock, { queries: 7, keys: 10, blockSize: 4 });
    const counts = list.counts();
    for (let i = 0; i < 7; i++) for (let j = 0; j < 10; j++) expect(counts[i * 10 + j]).toBe(j <= i + 3 ? 1 : 0);
    expect(list.slots).toBe(1);
    expect(list.pairs).toBe(4 + 5 + 6 + 7 + 8 + 9 + 10);
  });

  test("queries that see nothing get zeros, a log-sum-exp of -inf, and no gradient", () => {
    const [q, k, v] = operands(6, { dtype: "f32" });
    const list = new TileList({ queries: 6, keys: 6, blockSize: 3 }, (i) => (i === 0 ? [] : [{ first: 1, end: 4 }]));
    engine.scope(() => {
      const leaves = [q, k, v].map((x) => x.requireGrad());
      const { output, lse } = sparseAttention(leaves[0]!, leaves[1]!, leaves[2]!, list);
      const values = output.dataSync();
      expect([...values.slice(0, 12)]).toEqual(new Array(12).fill(0));
      expect(lse.dataSync()[0]).toBe(Number.NEGATIVE_INFINITY);
      output.sum().backward();
      for (const x of leaves) expect(x.grad!.dataSync().every(Number.isFinite)).toBe(true);
      expect([...leaves[0]!.grad!.dataSync().slice(0, 12)]).toEqual(new Array(12).fill(0));
    });
  });

  test("nonsense is refused", () => {
    const [q, k, v] = operands(6);
    const list = patternList(everyBlock, { queries: 5, blockSize: 2 });
    expect(() => sparseAttention(q, k, v, list)).toThrow("the list is for 5 queries and 5 keys");
    const [low, bias] = [q.cast("bf16"), noise(1, [1, 1, 6], "bf16")];
    const all = [low, low, low, patternList(everyBlock, { queries: 6, blockSize: 2 }).on(engine), bias] as const;
    const attrs = { scale, blockSize: 2, mostKeys: 6, bias: "key" } as const;
    expect(() => low.applyAll(ops.sparseAttention, all, attrs)).toThrow('scores are sums in f32: bias.cast("f32")');
    expect(() => new TileList({ queries: 4, keys: 4, blockSize: 2 }, () => [{ first: 0, end: 5 }])).toThrow(
      "a run [0, 5) lies outside of 4 keys",
    );
    expect(() => patternList(everyBlock, { queries: 5, keys: 4, blockSize: 2 })).toThrow("the first 1 of 5 queries");
  });
});

describe("tiled attention", () => {
  test("with padding, windows and every kind of bias is dense attention with the sum as a matrix", () => {
    const [t, s] = [9, 13];
    const [q, k, v] = [noise(1, [2, 2, t, 4], "f64"), noise(2, [2, 1, s, 4], "f64"), noise(3, [2, 1, s, 4], "f64")];
    const keyLengths = [13, 7];
    const biases = {
      key: noise(4, [2, 1, s], "f64"),
      relative: noise(5, [1, 2, t + s - 1], "f64"),
      full: noise(6, [2, 2, t, s], "f64"),
    };
    for (const isCausal of [false, true])
      for (const kind of ["key", "relative", "full"] as const)
        expectSameFunction(
          (a, b, c, bias) => tiledAttention(a!, b!, c!, { scale, isCausal, keyLengths, bias: { kind, values: bias! } }),
          (a, b, c, bias) => {
            const mask = maskList({ queries: t, keys: s, isCausal, keyLengths });
            const hidden = [0, 1].map((n) => logVisibility(mask, a!, n).reshape([1, 1, t, s]));
            const place = Int32Array.from({ length: t * s }, (_, i) => (i % s) - Math.floor(i / s) + t - 1);
            const matrix = {
              key: () => bias!.unsqueeze(2),
              relative: () => bias!.take(fromWords(place, [t, s], "i32", engine), 2),
              full: () => bias!,
            };
            return denseAttention(a!, b!, c!, matrix[kind]().add(hidden[0]!.concat([hidden[1]!])), scale);
          },
          [q, k, v, biases[kind]],
        );
  });

  test("without them is the engine's attention, bit for bit, and with a bias of zeros close to it", () => {
    const [q, k, v] = operands(70);
    engine.scope(() => {
      const plain = tiledAttention(q, k, v, { isCausal: true, rotary: true });
      const zeros = noise(1, [1, 1, 70]).zerosLike();
      const biased = tiledAttention(q, k, v, { isCausal: true, rotary: 10000, bias: { kind: "key", values: zeros } });
      expect(distance(plain, biased)).toBe(0);
    });
  });
});

const backends = {
  kernels: () => new CpuBackend(),
  reference: () => new ReferenceBackend(),
  "composed of simpler ops": () => wrapBackend(new CpuBackend(), { kernels: { sparseAttention: undefined } }),
};

describe("hierarchical attention", () => {
  test("is softmax attention over the pyramid's rows, each weighing as its tokens, for all ladders", () => {
    const pooling = fc.constantFrom("mean" as const, "learned" as const);
    fc.assert(fc.property(ladderOptions(40), pooling, hierarchicalIsDense), runs(8));
  });

  test("has rows that are the means of their tokens, for all ladders", () => {
    fc.assert(
      fc.property(ladderOptions(40), (options) => {
        const ladder = makeLadder(options);
        engine.scope(() => {
          const x = noise(1, [1, 2, options.length, 3], "f64");
          const means = ladder.levels.flatMap(({ ratio, rows }) =>
            Array.from({ length: rows }, (_, row) => {
              const tokens = Math.min(ratio, options.length - row * ratio);
              return x.narrow(2, row * ratio, tokens).mean(2, { keepDims: true });
            }),
          );
          const { keys, values } = buildPyramid(x, x, ladder, meanPooling);
          const expected = means[0]!.concat(means.slice(1), 2);
          expect(distance(keys, expected)).toBeLessThan(CLOSE);
          expect(distance(values, expected)).toBeLessThan(CLOSE);
        });
      }),
      runs(20),
    );
  });

  test("with ratios of equal keys and values is dense attention itself: a summary of m equal tokens weighs as m", () => {
    engine.scope(() => {
      const q = noise(1, [1, 2, 160, 4], "f64");
      const repeated = (x: Tensor): Tensor => x.unsqueeze(3).expand([1, 2, 10, 16, 4]).reshape([1, 2, 160, 4]);
      const [k, v] = [repeated(noise(2, [1, 2, 10, 4], "f64")), repeated(noise(3, [1, 2, 10, 4], "f64"))];
      for (const isCausal of [true, false]) {
        const attention = new Hierarchical({
          numHeads: 2,
          headDim: 4,
          leafSize: 2,
          numLevels: 2,
          isCausal,
          dtype: "f64",
        });
        expect(attention.ladderFor(160).levels).toHaveLength(3);
        const list = maskList({ queries: 160, keys: 160, isCausal });
        expect(distance(attention.call(q, k, v), denseAttention(q, k, v, logVisibility(list, q), 0.5))).toBeLessThan(
          CLOSE,
        );
      }
    });
  });

  test.each(Object.entries(backends))("under autocast a summary of 256 tokens weighs as 256, %s", (_, make) => {
    const on = new Engine(make());
    const attention = new Hierarchical({
      ...{ numHeads: 1, headDim: 2, leafSize: 1, compressionRatios: [256], levelBias: true, engine: on },
    });
    const time = 600;
    expect(attention.ladderFor(time).levels).toHaveLength(2);
    const zero = zeros([1, 1, time, 2], { engine: on });
    // Equal scores: the last query's output is the share of tokens whose value is 1, those of the first group.
    const v = fromWords(
      Float32Array.from({ length: 2 * time }, (_, i) => Number(i < 2 * 256)),
      [1, 1, time, 2],
      "f32",
      on,
    );
    on.scope(() => {
      const y = on.autocast("bf16", () => attention.call(zero, zero, v));
      const share = y.cast("f32").dataSync().at(-1)!;
      // The output is rounded to 8 bits; a rounded logarithm of 256 would be 1.6 % off, half of it after the softmax.
      expect(Math.abs(share / (256 / time) - 1)).toBeLessThan(2 ** -8);
    });
  });

  describe.each([1, 5])("recall chosen for %i queries at a time", (queriesPerChoice) => {
    const options = {
      ...{ numHeads: 2, numKeyValueHeads: 1, headDim: 4, leafSize: 2, compressionRatios: [2, 4] },
      dtype: "f64",
    } as const;
    const plain = new Hierarchical(options);
    const time = 31;
    /** Groups of 2 tokens before the first one that the first query of the choice sees by itself. */
    const candidates = (i: number): number => {
      const block = Math.floor((i - (i % queriesPerChoice)) / 2);
      return 2 * Math.max(0, Math.floor(block / 2) - 1);
    };
    /** Dense attention to the ladder's rows, and to the tokens of the groups that each query of each sequence is said to have recalled. */
    const expected =
      (isRecalled: (n: number, i: number, group: number) => boolean) =>
      (q?: Tensor, k?: Tensor, v?: Tensor): Tensor => {
        const ladder = plain.ladderFor(time);
        const { keys, values } = buildPyramid(k!, v!, ladder, plain.pool);
        const logs = ladder.levels.flatMap(({ ratio, rows }) => new Array<number>(rows).fill(Math.log(ratio)));
        const ofRows = logVisibility(ladder.list, q!).add(
          fromWords(Float64Array.from(logs), [ladder.rows], "f64", engine),
        );
        const square = time * time;
        const recalled = Float64Array.from({ length: 2 * square }, (_, p) => {
          const [n, i, token] = [Math.floor(p / square), Math.floor((p % square) / time), p % time];
          return isRecalled(n, i, Math.floor(token / 2)) ? 0 : Number.NEGATIVE_INFINITY;
        });
        const ofTokens = fromWords(recalled, [2, 1, time, time], "f64", engine);
        const bias = ofRows.expand([2, 1, time, ladder.rows]).concat([ofTokens], 3);
        return denseAttention(q!, keys.concat([k!], 2), values.concat([v!], 2), bias, 0.5);
      };

    test("joins the same softmax: with all groups recalled, far tokens count in both ways", () => {
      const attention = new Hierarchical({ ...options, recall: { topK: 50, level: 1, queriesPerChoice } });
      expectSameFunction(
        (q, k, v) => attention.call(q!, k!, v!),
        expected((_, i, group) => group < candidates(i)),
        operands(time, f64),
      );
    });

    test("is of the groups whose means score highest with the sum of the queries up to the choice's first", () => {
      const [q, k, v] = operands(time, f64);
      const [qs, ks] = [q, k].map((x) => x.dataSync()) as [Float64Array, Float64Array];
      const score = (n: number, i: number, group: number): number => {
        const first = i - (i % queriesPerChoice);
        let sum = 0;
        for (let from = Math.max(0, first - queriesPerChoice + 1); from <= first; from++)
          for (let head = 0; head < 2; head++)
            for (let c = 0; c < 4; c++) {
              const key = ks[(n * time + 2 * group) * 4 + c]! + ks[(n * time + 2 * group + 1) * 4 + c]!;
              sum += (qs[((n * 2 + head) * time + from) * 4 + c]! * key) / 2;
            }
        return sum;
      };
      const best = (n: number, i: number): number[] =>
        Array.from({ length: candidates(i) }, (_, group) => group)
          .sort((x, y) => score(n, i, y) - score(n, i, x))
          .slice(0, 2);
      const attention = new Hierarchical({ ...options, recall: { topK: 2, level: 1, queriesPerChoice } });
      expectSameFunction(
        (...x) => attention.call(...(x as [Tensor, Tensor, Tensor])),
        expected((n, i, group) => best(n, i).includes(group)),
        [q, k, v],
      );
    });
  });

  test("recall of no queries at a time is refused", () => {
    const recall = { topK: 1, level: 1, queriesPerChoice: 0 };
    expect(() => new Hierarchical({ numHeads: 1, headDim: 2, recall })).toThrow("queriesPerChoice is 0");
  });
});

describe("linear attention", () => {
  /** Σ_j w_ij v_j / Σ_j w_ij with the weights written out. */
  const quotient = (weights: Tensor, v: Tensor, isCausal: boolean): Tensor => {
    const t = v.shape[2]!;
    const place = v.rangeOf(t, "i32");
    const seen = isCausal ? place.unsqueeze(1).greaterEqual(place).where(weights, 0) : weights;
    return seen.matmul(v).div(seen.sum(-1, { keepDims: true }));
  };

  test("in chunks is the quotient of the sums", () => {
    for (const isCausal of [true, false])
      for (const time of [1, 4, 11])
        expectSameFunction(
          (q, k, v) => new LinearAttention({ isCausal, chunkSize: 4 }).call(q!, k!, v!),
          (q, k, v) => quotient(eluFeatures(q!).matmul(eluFeatures(k!).transpose()), v!, isCausal),
          operands(time, f64),
        );
  });

  test("by random features comes close to its kernel as their number grows", () => {
    engine.scope(() => {
      const [q, k, v] = operands(24, { dtype: "f64", heads: 1 }).map((x) => x.mul(0.7)) as [Tensor, Tensor, Tensor];
      const apart = q
        .square()
        .sum(-1, { keepDims: true })
        .add(k.square().sum(-1).unsqueeze(2))
        .sub(q.matmul(k.transpose()).mul(2));
      const kernels = {
        softmax: q.matmul(k.transpose()).div(2).exp(),
        rationalFourier: apart.div(4).add(1).reciprocal(),
      };
      for (const kind of ["softmax", "rationalFourier"] as const) {
        const expected = quotient(kernels[kind], v, true);
        const error = (numFeatures: number): number => {
          const options = { headDim: 4, numFeatures, kind, key: randomKey(5), dtype: "f64" } as const;
          return distance(new RandomFeatureAttention(options).call(q, k, v), expected);
        };
        // 100 times as many features: a tenth of the error, and not more than a third by bad luck.
        expect(error(20_000)).toBeLessThan(error(200) / 3);
        expect(error(20_000)).toBeLessThan(0.05);
      }
    });
  });
});
