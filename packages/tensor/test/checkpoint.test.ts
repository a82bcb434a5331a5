import { expectBitEqual } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkpoint, type Engine, randomKey, type Tensor } from "../src/index.ts";
import { newEngine, random } from "./engine.fixture.ts";

type Layer = (x: Tensor) => Tensor;
type Wrap = (layer: Layer, x: Tensor) => Tensor;
const plain: Wrap = (layer, x) => layer(x);
const stored: Wrap = (layer, x) => checkpoint((t) => layer(t!), x);

interface Run {
  readonly gradients: Float32Array[];
  readonly savedBytes: number;
}

/** A small network with a tied matrix, dropout and a shared context, some of its layers wrapped. */
function run(engine: Engine, wraps: readonly Wrap[], autocast = false): Run {
  const [embedding, w, gain] = [random(engine, 1, [8, 16]), random(engine, 2, [16, 16]), random(engine, 3, [16])].map(
    (t) => t.requireGrad(),
  ) as [Tensor, Tensor, Tensor];
  let savedBytes = 0;
  engine.scope(() => {
    engine.withKey(randomKey(7), () => {
      const compute = (): Tensor => {
        const context = w.sum(0).tanh();
        let h = random(engine, 4, [12, 8]).matmul(embedding);
        wraps.forEach((wrap, i) => {
          const layer: Layer = (x) => {
            const n = x.rmsNorm(gain).matmul(w).gelu();
            return n.dropout(0.3, engine.nextKey("dropout")).add(context).add(x);
          };
          h = engine.withFoldedKey(i, () => wrap(layer, h));
        });
        return h.matmul(embedding.transpose()).logSoftmax().square().mean();
      };
      const loss = autocast ? engine.autocast("bf16", compute) : compute();
      savedBytes = engine.memory().live.saved;
      loss.backward();
    });
  });
  const gradients = [embedding, w, gain].map((t) => t.grad!.dataSync() as Float32Array);
  for (const t of [embedding, w, gain]) t.dispose();
  return { gradients, savedBytes };
}

function expectSameGradients(a: Run, b: Run): void {
  a.gradients.forEach((g, i) => {
    expectBitEqual(g, b.gradients[i]!, `gradient ${i}`);
  });
}

describe("checkpoint", () => {
  test("gives the gradients of the plain run to the bit, wherever it is put, and nests", () => {
    const engine = newEngine();
    const twice: Wrap = (layer, x) => checkpoint((t) => checkpoint((u) => layer(u!), t!), x);
    const wrap = fc.constantFrom(plain, stored, twice);
    fc.assert(
      fc.property(fc.array(wrap, { minLength: 1, maxLength: 4 }), fc.boolean(), (wraps, autocast) => {
        expectSameGradients(
          run(engine, wraps, autocast),
          run(
            engine,
            wraps.map(() => plain),
            autocast,
          ),
        );
        expect(engine.memory()).toMatchObject({ liveBytes: 0, liveBuffers: 0 });
        expect(engine.liveTensors).toBe(0);
      }),
      { numRuns: 12 },
    );
  });

  test("keeps only the inputs: what depth adds is one activation a layer", () => {
    const engine = newEngine();
    const saved = (wrap: Wrap, depth: number): number => run(engine, new Array<Wrap>(depth).fill(wrap)).savedBytes;
    const activation = 12 * 16 * 4;
    expect(saved(stored, 8) - saved(stored, 4)).toBe(4 * activation);
    expect(saved(plain, 8) - saved(plain, 4)).toBeGreaterThan(4 * 2 * activation);
  });

  test("of a whole sequence, around checkpoints of its parts", () => {
    const engine = newEngine();
    const x = random(engine, 1, [4]).requireGrad();
    const y = random(engine, 1, [4]).requireGrad();
    const part: Layer = (t) => t.sin().mul(t);
    engine.scope(() =>
      checkpoint((t) => stored(part, stored(part, t!)), x)
        .sum()
        .backward(),
    );
    engine.scope(() => part(part(y)).sum().backward());
    expectBitEqual(x.grad!.dataSync(), y.grad!.dataSync());
  });

  test("of a function that uses its input several times adds up in the plain order", () => {
    const engine = newEngine();
    const gradient = (wrap: Wrap): Float32Array => {
      const x = random(engine, 5, [64]).requireGrad();
      const many: Layer = (t) => {
        let sum = t.mul(0.1);
        for (let i = 1; i < 12; i++) sum = sum.add(t.sin().mul(t.mul(1 / i)));
        return sum;
      };
      engine.scope(() => wrap(many, x).add(x.exp()).mul(wrap(many, x)).sum().backward());
      return x.grad!.dataSync() as Float32Array;
    };
    expectBitEqual(gradient(stored), gradient(plain));
  });
});
