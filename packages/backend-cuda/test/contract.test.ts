import { CpuBackend, ReferenceBackend } from "@revnet-zero/backend-cpu";
import {
  arange,
  type Backend,
  Engine,
  fromWords,
  type HostData,
  numel,
  ops,
  randomKey,
  randomNormal,
  type Tensor,
  tensor,
} from "@revnet-zero/tensor";
import { opContract, Random } from "@revnet-zero/testkit";
import { expect, test } from "vitest";
import { attentionCases, hopperCases, tilesAgainstRows } from "../src/testing/attention.ts";
import { convolutionApart, convolutionBound, convolutionCases } from "../src/testing/convolutions.ts";
import { sparseAgainstDense, sparseCases } from "../src/testing/sparseAttention.ts";
import { useStandIn } from "../src/testing/standIn.ts";

// The kernels' own source, compiled for the host: one op of every family. All ops in all types are in contract.deep.ts, and on
// a device by `npm run gpu:bundle`.
const reason = useStandIn();

if (reason === undefined) {
  const { CudaBackend } = await import("../src/index.ts");
  const backend = new CudaBackend();
  opContract({
    backend: () => backend,
    reference: () => new ReferenceBackend(),
    dtypes: ["f32"],
    only: [
      "exp",
      "concat",
      "sum",
      "argmax",
      "cumsum",
      "sort",
      "topk",
      "take",
      "scatterAdd",
      "scatterAddTo",
      "matmul",
      "conv2d",
    ],
  });
  opContract({
    backend: () => backend,
    reference: () => new ReferenceBackend(),
    dtypes: ["i32"],
    only: ["randomBits"],
  });
  opContract({
    backend: () => backend,
    reference: () => new ReferenceBackend(),
    dtypes: ["bf16", "f32"],
    only: [
      "layerNorm",
      "addNormBackward",
      "crossEntropyWithGradient",
      "fixedPointAddNorm",
      "headAttention",
      "decodeAttention",
      "sparseAttention",
      "sparseAttentionBackward",
      "pyramid",
      "pyramidGradient",
      "matmulAdd",
      "adamwCopying",
      "linearActivationBackward",
      "linearParametersBackward",
    ],
  });
  test.each(["f32", "bf16"] as const)(
    "a linear layer of few rows, or some, in %s is the reference's, and its GELU that of the stored argument",
    (dtype) => {
      const [engine, oracle] = [new Engine(backend), new Engine(new CpuBackend())];
      const run = (
        on: Engine,
        [rows, k, n]: readonly number[],
        activation: "none" | "gelu" | "silu",
        hasBias: boolean,
      ) =>
        on.scope(() => {
          const draw = (shape: readonly number[], seed: number): Tensor =>
            randomNormal(shape, { key: randomKey(seed), engine: on })
              .cast("bf16")
              .cast(on === oracle ? "f32" : dtype);
          const bias = hasBias ? draw([n!], 3) : undefined;
          return draw([rows!, k!], 1)
            .linear(draw([n!, k!], 2).mul(0.05), bias, activation)
            .cast("f32")
            .dataSync();
        });
      const agree = (sizes: readonly number[], activation: "none" | "gelu" | "silu", hasBias: boolean): void => {
        const [found, exact] = [engine, oracle].map((on) => run(on, sizes, activation, hasBias));
        const apart = Array.from(found!, (v, i) => Math.abs(Number(v) - Number(exact![i])));
        // Sums of k terms are the square root of k as large.
        const scale = Math.max(1, Math.sqrt(sizes[1]! / 224));
        expect(Math.max(...apart)).toBeLessThan(scale * (dtype === "f32" ? 2 ** -18 : 2 ** -5));
      };
      for (const rows of [1, 3, 8, 9, 37, 64])
        for (const activation of ["none", "gelu", "silu"] as const)
          for (const hasBias of [true, false]) agree([rows, 224, 37], activation, hasBias);
      // No whole number of steps along k.
      for (const rows of [2, 8]) agree([rows, 200, 37], "gelu", true);
      // More along k than warps hold at once.
      if (dtype !== "f32") agree([9, 3136, 5], "gelu", true);
    },
  );
  test("the place of the largest of a long line is that of the reference, the first of equals and NaN included", () => {
    const cases = [
      [3, 6001, []],
      [3, 6001, [5000]],
      [3, 6001, [700, 5000]],
      [2, 70001, [2048, 69000]],
      // As many lines as there are blocks for.
      [128, 2100, [2090]],
    ] as const;
    for (const [lines, length, harm] of cases) {
      const values = Float32Array.from({ length: lines * length }, (_, i) => ((i * 7919) % 1000) - 500);
      for (const at of harm) values[length + at] = Number.NaN;
      const [found, expected] = [backend, new CpuBackend()].map((on) => {
        const engine = new Engine(on as Backend);
        return engine.scope(() => {
          const x = tensor(values, { shape: [lines, length], engine });
          return [Array.from(x.argmax(-1).dataSync()), Array.from(x.argmin(-1).dataSync())];
        });
      });
      expect(found).toEqual(expected);
    }
  });
  test("rows that begin between packs have the bits of rows that do not", () => {
    const engine = new Engine(backend);
    const [rows, length] = [5, 64];
    engine.scope(() => {
      const all = randomNormal([rows * length + 1], { key: randomKey(1), engine });
      const apart = all.narrow(0, 1, rows * length).reshape([rows, length]);
      const [weight, bias] = [2, 3].map((n) => randomNormal([length], { key: randomKey(n), engine })) as [
        Tensor,
        Tensor,
      ];
      const run = (x: Tensor): Tensor[] => {
        const [y, mean, inverse] = x.applyAll(ops.layerNorm, [x, weight, bias], { eps: 1e-5 });
        const operands = [x, weight, mean!, inverse!, y!, x];
        return [y!, mean!, inverse!, ...x.applyAll(ops.addNormBackward, operands, { eps: 1e-5, hasMean: true })];
      };
      const tall = randomNormal([300 * 8 + 1], { key: randomKey(4), engine });
      const shifted = tall.narrow(0, 1, 300 * 8).reshape([300, 8]);
      expect(shifted.sum([0]).dataSync()).toEqual(shifted.clone().sum([0]).dataSync());
      const packed = run(apart.clone());
      for (const [i, t] of run(apart).entries()) expect(t.dataSync()).toEqual(packed[i]!.dataSync());
    });
  });
  test("gradients of norms are found of shorter rows before longer ones of the same kernel", () => {
    const engine = new Engine(backend);
    // Both hold six parts a thread; the sums of the second need more shared memory.
    for (const length of [644, 764])
      engine.scope(() => {
        const draw = (shape: number[], n: number): Tensor => randomNormal(shape, { key: randomKey(n), engine });
        const x = draw([3, length], 1);
        const operands = [x, draw([length], 2), draw([3], 3), draw([3], 4), draw([3, length], 5), x];
        const [, , byBias] = x.applyAll(ops.addNormBackward, operands, { eps: 0, hasMean: true });
        const [sums, expected] = [byBias!, operands[4]!.sum([0])].map((t) => Array.from(t.dataSync() as Float32Array));
        for (const [i, v] of expected!.entries()) expect(sums![i]).toBeCloseTo(v, 5);
      });
  });
  test.each(["bf16", "f16", "f32", "f64", "i32"] as const)(
    "sums of many rows of %s lose no row and no column",
    (dtype) => {
      const engine = new Engine(backend);
      const random = new Random(3);
      // More rows than a block's threads have loads on their way; columns that end within a block's. Sums of whole numbers are exact.
      const [rows, length] = [2300, 280];
      const values = Float32Array.from({ length: rows * length }, () => random.integer(-100, 100));
      const expected = new Array<number>(length).fill(0);
      values.forEach((v, i) => {
        expected[i % length]! += v;
      });
      engine.scope(() => {
        const x = tensor(values, { shape: [rows, length], engine }).cast(dtype);
        // A bias' gradient is not rounded to 16 bits.
        const [, sums] =
          dtype === "bf16" || dtype === "f16"
            ? x.applyAll(ops.linearParametersBackward, [x, x.narrow(1, 0, 1).clone()], { hasBias: true, to: "f32" })
            : [x, x.sum([0])];
        expect(Array.from(sums!.cast("f32").dataSync())).toEqual(expected);
      });
    },
  );
  test("a long line is sorted by many blocks as by one, and sums at its indices go in ascending order", () => {
    const engine = new Engine(backend);
    const random = new Random(2);
    const [count, places, inner] = [9000, 300, 4];
    const keys = Float32Array.from({ length: count }, () => random.integer(-20, 20) / 4);
    const indices = Int32Array.from({ length: count }, () => random.integer(0, places - 1));
    const updates = Float32Array.from({ length: count * inner }, () => random.between(-1, 1));
    engine.scope(() => {
      const [, positions] = tensor(keys, { engine }).applyAll(ops.sort, [tensor(keys, { engine })], {
        ...{ axis: 0, descending: false },
      });
      const stable = Array.from(keys.keys()).sort((a, b) => keys[a]! - keys[b]! || a - b);
      expect(Array.from(positions!.dataSync())).toEqual(stable);
      const expected = new Float32Array(places * inner);
      indices.forEach((place, j) => {
        for (let i = 0; i < inner; i++) expected[place * inner + i]! += updates[j * inner + i]!;
      });
      const given = [tensor(indices, { engine }), tensor(updates, { shape: [count, inner], engine })];
      const [sums] = given[1]!.applyAll(ops.scatterAdd, given, { axis: 0, size: places });
      expect(sums!.dataSync()).toEqual(expected);
    });
  });
  // A last place of bfloat16 is 2^-7 of a value.
  test.each([
    ["f32", 1e-5],
    ["bf16", 2 ** -7],
  ] as const)(
    "softmax of %s rows that shared memory holds is that of shorter ones with nothing behind them",
    (dtype, most) => {
      const engine = new Engine(backend);
      engine.scope(() => {
        const short = randomNormal([3, 4096], { key: randomKey(1), engine })
          .mul(4)
          .cast(dtype);
        // As much again that weighs nothing: rows of 8192 elements are held in registers, of 8200 in shared memory.
        const long = short.concat([short.fullOf([3, 4104], Number.NEGATIVE_INFINITY)], 1);
        for (const op of [ops.softmax, ops.logSoftmax]) {
          const [of, from] = [short, long].map((x) => x.apply(op, [x], undefined).narrow(1, 0, 4096).dataSync());
          for (const [i, v] of of!.entries())
            if (!(Math.abs(from![i]! - v) <= most * Math.abs(v) + 1e-30))
              throw new Error(`${op.name} ${i}: ${from![i]}, ${v}`);
        }
      });
    },
  );
  test.each([256, 96, 101])(
    "gradients of norms of rows that come ahead of their use are the reference's: %d a row",
    (length) => {
      // More rows than the warps of a block take at a time, in parts that are not of one size.
      const [found, expected] = [backend, new ReferenceBackend()].map((one) => {
        const on = new Engine(one as Backend);
        // The same numbers on both: a last place of a normal number may be another, and that a last place of a bfloat16.
        const draw = (shape: number[], seed: number): Tensor => {
          const random = new Random(seed);
          const values = Float32Array.from({ length: numel(shape) }, () => random.between(-2, 2));
          return tensor(values, { shape, engine: on });
        };
        return on.scope(() => {
          const [x, w, direct] = [draw([300, length], 1), draw([length], 2), draw([300, length], 4)];
          const statistics = [draw([300], 5), draw([300], 6)];
          const operands = [x, w, ...statistics, draw([300, length], 3).cast("bf16"), direct];
          const outputs = x.applyAll(ops.addNormBackward, operands, { eps: 0, hasMean: true, to: "bf16" });
          return outputs.map((y) => y.cast("f32").dataSync());
        });
      }) as [HostData[], HostData[]];
      for (const [k, values] of expected.entries())
        for (const [i, v] of values.entries()) {
          const most = (k === 1 ? 2 ** -7 : 1e-5) * (Math.abs(v) + 10);
          if (!(Math.abs(found[k]![i]! - v) <= most)) throw new Error(`output ${k}, ${i}: ${found[k]![i]}, not ${v}`);
        }
    },
  );
  test("rotary positions are the reference's over more times and rows than a block has, whatever their place", () => {
    const draw = (on: Engine): Tensor => randomNormal([3, 37, 30, 32], { key: randomKey(1), engine: on });
    // In float64 on the reference: of positions like these float32 leaves angles few digits.
    const turned = (
      [
        [backend, "f32"],
        [new ReferenceBackend(), "f64"],
      ] as const
    ).map(([one, dtype]) => {
      const on = new Engine(one as Backend);
      return on.scope(() => {
        const positions = arange(37, { engine: on }).mul(7).add(100_000);
        return draw(on).cast(dtype).permute([0, 2, 1, 3]).rope(positions, 10000).dataSync();
      });
    });
    const [found, expected] = turned as [HostData, HostData];
    for (const [i, v] of found.entries()) if (Math.abs(v - expected[i]!) > 1e-5) throw new Error(`${i}: ${v}`);
  });
  test("more than a few of the largest are those of the whole sort", () => {
    const engine = new Engine(backend);
    engine.scope(() => {
      const x = randomNormal([3, 40, 2], { key: randomKey(1), engine })
        .mul(4)
        .cast("i32");
      const { values, indices } = x.topk(20, 1);
      const [sorted, places] = x.applyAll(ops.sort, [x], { axis: 1, descending: true }) as [Tensor, Tensor];
      expect(values.dataSync()).toEqual(sorted.narrow(1, 0, 20).dataSync());
      expect(indices.dataSync()).toEqual(places.narrow(1, 0, 20).dataSync());
    });
  });
  test.each([
    ["exp", 0.65, (x: number) => Math.exp(x)],
    ["sigmoid", 5, (x: number) => 1 / (1 + Math.exp(-x))],
  ] as const)("%s is within %f units in the last place", (name, most, of) => {
    const engine = new Engine(backend);
    const random = new Random(1);
    const given = Float32Array.from({ length: 100_000 }, () => random.between(-87, 88));
    const found = engine.scope(() => tensor(given, { engine })[name]().dataSync());
    given.forEach((x, i) => {
      const exact = of(x);
      const unit = 2 ** (Math.floor(Math.log2(exact)) - 23);
      if (Math.abs(found[i]! - exact) > most * unit) throw new Error(`${name}(${x}) is ${found[i]}, not ${exact}`);
    });
  });
  test.each(attentionCases.slice(1))("attention on tensor cores is that of rows: %o", (one) => {
    // Weights are rounded to 8 bits before the second product, sums are not.
    for (const apart of tilesAgainstRows(backend, one)) expect(apart).toBeLessThan(2 ** -7);
  });
  // The stand-in runs them as Hopper may: copies and sums as late as no barrier or wait speaks of them.
  test.each(hopperCases.slice(1))("attention on Hopper's tensor cores is that of rows: %o", (one) => {
    for (const apart of tilesAgainstRows(backend, one, { way: "hopper" })) expect(apart).toBeLessThan(2 ** -7);
  });
  const oracle = new Engine(new CpuBackend());
  test.each(sparseCases)("a list on tensor cores means what it means in matrices, twice the same bits: %o", (one) => {
    const { apart, isSame } = sparseAgainstDense(backend, oracle, one, "bf16");
    for (const difference of apart) expect(difference).toBeLessThan(2 ** -6);
    expect(isSame).toBe(true);
  });
  test.each(convolutionCases)("convolutions by tiles are those of float64, twice the same bits: %o", (one) => {
    for (const dtype of ["f32", "bf16", "f16"] as const)
      for (const apart of convolutionApart(new Engine(backend), oracle, one, dtype))
        expect(apart, dtype).toBeLessThan(convolutionBound(one, dtype));
  });
  test("a mask and the list that says it have the same bits, forward and backward: both go along rows by the same functions", () => {
    const engine = new Engine(backend);
    const [t, s, blockSize, scale] = [50, 70, 8, 0.3];
    const blocks = Math.ceil(t / blockSize);
    const runs = Int32Array.from({ length: 4 * blocks }, (_, n) =>
      n % 4 < 2 ? (n % 4) * s : n % 4 === 2 ? -(2 ** 30) : ((n - 3) / 4) * blockSize + 1 + s - t,
    );
    engine.scope(() => {
      const draw = (n: number, shape: number[]): Tensor => randomNormal(shape, { key: randomKey(n), engine });
      const gradient = draw(4, [1, 4, t, 20]);
      const pulled = (attend: (q: Tensor, k: Tensor, v: Tensor) => Tensor): Tensor[] => {
        const leaves = [draw(1, [1, 4, t, 40]), draw(2, [1, 2, s, 40]), draw(3, [1, 2, s, 20])].map((x) =>
          x.requireGrad(),
        ) as [Tensor, Tensor, Tensor];
        const y = attend(...leaves);
        y.backward({ gradient });
        return [y, ...leaves.map((x) => x.grad!)];
      };
      const list = fromWords(runs, [1, 1, blocks, 1, 4], "i32", engine);
      const attrs = { scale, blockSize, mostKeys: s };
      const byMask = pulled((q, k, v) => q.attention(k, v, { scale, isCausal: true }));
      const byList = pulled((q, k, v) => q.applyAll(ops.sparseAttention, [q, k, v, list], attrs)[0]!);
      for (const [i, x] of byMask.entries())
        expect(byList[i]!.detach().dataSync(), `result ${i}`).toEqual(x.detach().dataSync());
    });
  });
  test("a list in float32 means what it means in matrices", () => {
    for (const difference of sparseAgainstDense(backend, oracle, sparseCases[2]!, "f32").apart)
      expect(difference).toBeLessThan(2 ** -18);
  });
} else {
  test("CUDA kernels on the stand-in driver", (context) => context.skip(reason));
}
