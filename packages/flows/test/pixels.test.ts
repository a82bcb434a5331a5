import { ReversibleSequence } from "@revnet-zero/reversible";
import { arange, expectNoLeak, type HostData, type Shape, type Tensor } from "@revnet-zero/tensor";
import { errorText, expectBitEqual, gradcheck, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { depthToSpace, haarDownsample, haarUpsample, spaceToDepth } from "../src/index.ts";
import { engine, expectSame, floats, words } from "./fixtures.ts";

const size = fc.integer({ min: 1, max: 4 });
/** Images whose sides divide by `factor`, with the seed of their values. */
const images = (factor: number): fc.Arbitrary<[Shape, number]> =>
  fc.tuple(
    fc.tuple(size, size, size, size).map(([b, c, h, w]) => [b, c, h * factor, w * factor]),
    fc.nat({ max: 1e6 }),
  );

const pairs = [
  { name: "haar", down: haarDownsample, up: haarUpsample },
  { name: "space to depth", down: spaceToDepth, up: depthToSpace },
];

describe.each(pairs)("$name", ({ down, up }) => {
  test("is undone bit for bit, whatever 32-bit words go in", () => {
    fc.assert(
      fc.property(images(2), ([shape, seed]) =>
        expectNoLeak(engine, () =>
          engine.scope(() => {
            const x = words(shape, seed);
            const y = down(x);
            expect(y.shape).toEqual([shape[0], shape[1]! * 4, shape[2]! / 2, shape[3]! / 2]);
            expectSame(up(y), x, "image");
            // Onto: what comes from the other side comes back too.
            const z = words(y.shape, seed + 1);
            expectSame(down(up(z)), z, "image");
          }),
        ),
      ),
      runs(100),
    );
  });

  test("keeps lengths and angles of float images, so its determinant is 1", () => {
    fc.assert(
      fc.property(images(2), ([shape, seed]) =>
        engine.scope(() => {
          const [x, z] = [floats(shape, seed), floats(shape, seed + 1)];
          const product = x.mul(z).sum().itemSync();
          const scale = x.square().sum().sqrt().mul(z.square().sum().sqrt()).itemSync();
          expect(Math.abs(down(x).mul(down(z)).sum().itemSync() - product)).toBeLessThan(16 * Number.EPSILON * scale);
          expect(up(down(x)).sub(x).abs().max().itemSync()).toBeLessThan(16 * Number.EPSILON);
        }),
      ),
      runs(50),
    );
  });

  test("gradients, in both directions", async () => {
    for (const [shape, seed] of fc.sample(images(2), { numRuns: 4, seed: 1 })) {
      await gradcheck((x) => down(x), [floats(shape, seed)]);
      await gradcheck((y) => up(y), [floats([shape[0]!, shape[1]! * 4, shape[2]!, shape[3]!], seed)]);
    }
  });

  test("between reversible sequences: exact is stored, bit for bit", () => {
    const run = (mode: "exact" | "store", seed: number): (HostData | undefined)[] =>
      engine.scope(() => {
        const inputs = [0, 1].map((i) => floats([2, 1, 4, 4], seed + i, "f32").requireGrad());
        const gain = floats([4, 1, 1], seed + 2, "f32").requireGrad();
        const block = { F: (x: Tensor) => x.sin(), G: (x: Tensor) => x.square().mul(0.3) };
        const wide = { F: (x: Tensor) => x.mul(gain).tanh(), G: (x: Tensor) => x.mul(gain) };
        const [fine, coarse] = [block, wide].map((b) => new ReversibleSequence({ blocks: [b, b], mode, engine }));
        const streams = fine!.call(inputs[0]!.quantise(20), inputs[1]!.quantise(20)).map((x) => down(x));
        const outputs = coarse!.call(streams[0]!, streams[1]!);
        const [a, b] = outputs.map((y, i) =>
          y
            .dequantise(20)
            .mul(floats(y.shape, seed + 3 + i, "f32"))
            .sum(),
        );
        a!.add(b!).backward();
        const found = [...outputs.map((y) => y.dataSync()), ...[...inputs, gain].map((x) => x.grad?.dataSync())];
        for (const m of [fine, coarse]) m!.dispose();
        return found;
      });
    for (const seed of [1, 2, 3]) {
      const [exact, stored] = [run("exact", seed), run("store", seed)];
      exact.forEach((found, i) => {
        expectBitEqual(found!, stored[i]!, `tensor ${i}`);
      });
    }
  });
});

test("integer haar: each pair's floored mean and its difference", () => {
  const random = new Random(1);
  for (let i = 0; i < 50; i++) {
    const [a, b] = [random.integer(-1000, 1000), random.integer(-1000, 1000)];
    // One row of two equal ones: rows differ by 0, so the details between rows vanish.
    engine.scope(() => {
      const image = arange(4, { engine }).mul(0).add(a).reshape([1, 1, 2, 2]);
      const x = image.writeSlice(image.narrow(3, 1, 1).mul(0).add(b), [0, 0, 0, 1]);
      expect([...haarDownsample(x).dataSync()]).toEqual([Math.floor((a + b) / 2), b - a, 0, 0]);
    });
  }
});

test("a stream's gradient is that of the unrounded transform", () => {
  fc.assert(
    fc.property(images(2), fc.constantFrom("down", "up"), ([shape, seed], direction) =>
      engine.scope(() => {
        // The transform is linear but for the rounding, which 20 bits of fraction make small: g · J v = <v, Jᵀ g>.
        const f = direction === "down" ? haarDownsample : haarUpsample;
        const from = direction === "down" ? shape : [shape[0]!, shape[1]! * 4, shape[2]!, shape[3]!];
        const x = floats(from, seed, "f32").requireGrad();
        const y = f(x.quantise(20)).dequantise(20);
        const g = floats(y.shape, seed + 1, "f32");
        const loss = y.mul(g).sum();
        loss.backward();
        const fromGradient = x.grad!.mul(x.detach()).sum().itemSync();
        expect(Math.abs(fromGradient - loss.itemSync())).toBeLessThan(y.size * 16 * 2 ** -20);
        x.dispose();
      }),
    ),
    runs(50),
  );
});

test("space to depth is the permutation its docstring says, for any factor", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 }).chain((factor) => fc.tuple(fc.constant(factor), images(factor))),
      ([factor, [shape, seed]]) =>
        engine.scope(() => {
          const x = words(shape, seed);
          const y = spaceToDepth(x, { factor });
          expectSame(depthToSpace(y, { factor }), x, "image");
          const [, c, h, w] = shape as [number, number, number, number];
          const [from, to] = [x.dataSync(), y.dataSync()];
          const random = new Random(seed);
          const [b, k, i, j] = shape.map((s) => random.integer(0, s - 1)) as [number, number, number, number];
          const [row, column] = [i % factor, j % factor];
          const channel = (k * factor + row) * factor + column;
          const cell = ((b * c * factor * factor + channel) * h) / factor + Math.floor(i / factor);
          expect(to[(cell * w) / factor + Math.floor(j / factor)]).toBe(from[((b * c + k) * h + i) * w + j]);
        }),
    ),
    runs(100),
  );
});

test("errors name the op, what came, and the call that works", () => {
  engine.scope(() => {
    const odd = floats([1, 1, 3, 4], 1, "f32");
    expect(errorText(() => haarDownsample(odd))).toContain("haarDownsample: cannot take [1, 1, 3, 4] f32");
    expect(errorText(() => spaceToDepth(odd))).toContain("sides that divide by 2");
    expect(errorText(() => spaceToDepth(odd, { factor: 0 }))).toContain("the factor is 0");
    expect(errorText(() => depthToSpace(odd))).toContain("divides by 4");
    expect(errorText(() => haarUpsample(odd))).toContain("four groups of channels");
    const bytes = odd.narrow(2, 0, 2).cast("i8");
    expect(errorText(() => haarDownsample(bytes))).toContain('x.cast("i32")');
  });
});
