import {
  arange,
  type ElementwiseOp,
  Engine,
  full,
  ones,
  ops,
  randomKey,
  randomNormal,
  randomWords,
  tensor,
} from "@revnet-zero/tensor";
import { errorText } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { openDevice } from "../src/device/device.ts";
import { createGpuJsBackend, type GpuJsMode } from "../src/index.ts";

// gpu.js has ways to be wrong without a word. For each there is a test here that this backend does not go that way.

export function traps(mode: GpuJsMode): void {
  describe(`gpu.js ${mode}`, () => {
    const engines = createGpuJsBackend({ mode }).then((backend) => new Engine(backend));

    test("loops of more than 1000 rounds run to their end", async () => {
      const engine = await engines;
      const long = engine.scope(() => ones([2, 1500], { engine }).matmul(ones([1500, 1], { engine })));
      expect([...(await long.data())]).toEqual([1500, 1500]);
      const sums = engine.scope(() => full([3000], 1, { dtype: "i32", engine }).cumsum(0));
      expect((await sums.data())[2999]).toBe(3000);
      for (const t of [long, sums]) t.dispose();
    });

    test("an op on tensors of another size is another kernel", async () => {
      const engine = await engines;
      for (const size of [4, 9, 300, 4]) {
        const tripled = engine.scope(() => arange(size, { engine }).mul(3));
        expect([...(await tripled.data())]).toEqual(Array.from({ length: size }, (_, i) => 3 * i));
        tripled.dispose();
      }
    });

    test("a second run of a kernel leaves the first one's result", async () => {
      const engine = await engines;
      const [a, b] = engine.scope(() => [tensor([1, 2], { engine }).exp(), tensor([3, 4], { engine }).exp()]);
      const first = [...(await a!.data())];
      const again = engine.scope(() => tensor([5, 6], { engine }).exp());
      expect([...(await a!.data())]).toEqual(first);
      expect((await b!.data())[0]).toBeCloseTo(Math.exp(3), 4);
      for (const t of [a!, b!, again]) t.dispose();
    });

    test("a kernel takes results of kernels and uploaded tensors alike", async () => {
      const engine = await engines;
      const [x, y] = engine.scope(() => [tensor([1, 2], { engine }), tensor([1, 2], { engine }).add(1)]);
      for (const [t, expected] of [
        [x!, 3],
        [y!, 4],
        [x!, 3],
      ] as const) {
        const sum = engine.scope(() => t.add(t).add(1));
        expect((await sum.data())[0]).toBe(expected === 3 ? 3 : 5);
        sum.dispose();
      }
      for (const t of [x!, y!]) t.dispose();
    });

    test("kernels run where they were asked to, in high precision", async () => {
      const device = await openDevice(mode);
      const { kinds, shaders } = device.kernels.inspect();
      expect(kinds).toEqual([{ webgl2: "gpu", webgl: "gpu", headlessgl: "gpu" }[mode as string] ?? mode]);
      for (const shader of shaders) expect(shader).toContain("precision highp float");
    });

    test("all backends of a page share one context", async () => {
      const backends = await Promise.all(Array.from({ length: 24 }, () => createGpuJsBackend({ mode })));
      const engine = new Engine(backends[23]!);
      const sum = engine.scope(() => ones([3], { engine }).sum());
      expect(await sum.item()).toBe(3);
      sum.dispose();
      expect(new Set(await Promise.all(backends.map(() => openDevice(mode)))).size).toBe(1);
    });

    test("tensors of two engines do not meet", async () => {
      const [one, other] = [await engines, new Engine(await createGpuJsBackend({ mode }))];
      const [a, b] = [ones([1], { engine: one }), ones([1], { engine: other })];
      expect(errorText(() => a.add(b))).toContain("operands belong to two engines");
      for (const t of [a, b]) t.dispose();
    });

    test("positions beyond float32's whole numbers are refused", async () => {
      const engine = await engines;
      expect(errorText(() => engine.scope(() => full([2 ** 24], 0, { engine })))).toContain(
        "a buffer holds fewer than 16777216",
      );
      expect(errorText(() => engine.scope(() => full([2 ** 23], 0, { dtype: "i32", engine })))).toContain(
        "an i32 takes two",
      );
    });

    test("elements of a large tensor are found where they are", async () => {
      const engine = await engines;
      const size = 3_000_001;
      const found = engine.scope(() => {
        const ramp = arange(size, { dtype: "i32", engine });
        const places = tensor([0, 65535, 65536, 2_097_153, size - 1], { dtype: "i32", engine });
        return ramp.take(places, 0);
      });
      expect([...(await found.data())]).toEqual([0, 65535, 65536, 2_097_153, size - 1]);
      found.dispose();
    });

    // A driver that adds in another order needs sums that are exact in any.
    test("all arithmetic of 32-bit words has JavaScript's bits", async () => {
      const engine = await engines;
      const [a, b] = engine.scope(() => [1, 2].map((seed) => randomWords([500], { key: randomKey(seed), engine })));
      const [p, q] = [Int32Array.from(await a!.data()), Int32Array.from(await b!.data())];
      const distance = q.map((v) => v & 31);
      const divisor = q.map((v) => (v >> (v & 15)) | 1);
      const floorMod = (x: number, y: number): number => (x - Math.floor(x / y) * y) | 0;
      const cases: readonly (readonly [ElementwiseOp, Int32Array, (x: number, y: number) => number])[] = [
        [ops.add, q, (x, y) => (x + y) | 0],
        [ops.sub, q, (x, y) => (x - y) | 0],
        [ops.mul, q, Math.imul],
        [ops.bitwiseAnd, q, (x, y) => x & y],
        [ops.bitwiseOr, q, (x, y) => x | y],
        [ops.bitwiseXor, q, (x, y) => x ^ y],
        [ops.shiftLeft, distance, (x, y) => x << y],
        [ops.shiftRight, distance, (x, y) => x >> y],
        [ops.floorMod, divisor, floorMod],
        [ops.floorDivide, divisor, (x, y) => Math.floor(x / y) | 0],
      ];
      for (const [op, operand, exact] of cases) {
        const found = engine.scope(() => a!.apply(op, [a!, tensor(operand, { engine })], undefined));
        expect([...(await found.data())], op.name).toEqual(Array.from(p, (x, i) => exact(x, operand[i]!)));
        found.dispose();
      }
      for (const t of [a!, b!]) t.dispose();
    });

    test("tanh of a large number is 1", async () => {
      const engine = await engines;
      const values = engine.scope(() => tensor([-1000, -100, -50, -15, 15, 50, 100, 1000], { engine }).tanh());
      expect([...(await values.data())]).toEqual([-1, -1, -1, -1, 1, 1, 1, 1]);
      values.dispose();
    });

    test("sine and cosine are those of the number, not of its neighbour", async () => {
      const engine = await engines;
      const given = Float32Array.from({ length: 200 }, (_, i) => (i - 100) * 7.3);
      const [s, c] = engine.scope(() => [tensor(given, { engine }).sin(), tensor(given, { engine }).cos()]);
      const [sines, cosines] = [await s!.data(), await c!.data()];
      given.forEach((v, i) => {
        expect(Math.abs(sines[i]! - Math.sin(v))).toBeLessThan(1e-6);
        expect(Math.abs(cosines[i]! - Math.cos(v))).toBeLessThan(1e-6);
      });
      for (const t of [s!, c!]) t.dispose();
    });

    test("a type the device lacks is an error that names those it has", async () => {
      const engine = await engines;
      expect(errorText(() => engine.scope(() => full([2], 0, { dtype: "f64", engine })))).toContain(
        "use f32, i32, bool",
      );
    });

    test("the start-up test says that results repeat", async () => {
      const { backend } = await engines;
      expect((backend as { selfTest?: unknown }).selfTest).toMatchObject({ isRepeatable: true, isExact: true });
    });

    test("an op in place on a part of a tensor leaves the rest", async () => {
      const engine = await engines;
      const [x, k] = engine.scope(() => [
        tensor([1, 2, 3, 4, 5], { engine }),
        tensor([70000, -2, 3], { dtype: "i32", engine }),
      ]);
      engine.scope(() => {
        x!.narrow(0, 0, 2).assign(tensor([8, 9], { engine }));
        k!.narrow(0, 0, 1).assign(tensor([-90000], { dtype: "i32", engine }));
      });
      expect([...(await x!.data())]).toEqual([8, 9, 3, 4, 5]);
      expect([...(await k!.data())]).toEqual([-90000, -2, 3]);
      for (const t of [x!, k!]) t.dispose();
    });

    test("what the ledger counts is what the device holds", async () => {
      const engine = await engines;
      const backend = await createGpuJsBackend({ mode });
      const before = backend.memory().usedBytes;
      const kept = engine.scope(() => {
        const x = randomNormal([7, 31], { key: randomKey(1), engine });
        return [x.mul(2), x.greater(0), x.mul(100).cast("i32"), x.softmax().sum([0])];
      });
      const used = backend.memory().usedBytes - before;
      expect(used).toBe(kept.reduce((sum, t) => sum + backend.bytesOf(t.dtype, t.size), 0));
      for (const t of kept) t.dispose();
      expect(backend.memory().usedBytes).toBe(before);
    });
  });
}
