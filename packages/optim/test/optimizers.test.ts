import { CpuBackend, ReferenceBackend } from "@revnet-zero/backend-cpu";
import { MetaBackend } from "@revnet-zero/backend-meta";
import { type DType, Engine, expectNoLeak, numel, ones, type Tensor, tensor, zeros } from "@revnet-zero/tensor";
import { expectBitEqualTensors, expectClose, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { OptimizerState } from "../src/index.ts";
import { type Algorithm, algorithms } from "./algorithms.ts";

const engine = new Engine(new CpuBackend());
const shapes = [[3, 4], [5], [], [2, 3, 2], [1, 1]];

interface Problem {
  readonly parameters: readonly Tensor[];
  /** Gives every parameter a new gradient; returns the values. */
  draw(scale?: number): Float64Array[];
  dispose(): void;
}

function problem(seed: number, { dtype = "f32" as DType, on = engine } = {}): Problem {
  const random = new Random(seed);
  const values = (shape: readonly number[], scale = 1): Float64Array =>
    Float64Array.from({ length: numel(shape) }, () => {
      const v = scale * random.between(-2, 2);
      return dtype === "f32" ? Math.fround(v) : v;
    });
  const make = (shape: readonly number[], data: Float64Array): Tensor =>
    on.keep(tensor(data, { shape, dtype, engine: on }));
  const parameters = shapes.map((shape) => make(shape, values(shape)).requireGrad());
  return {
    parameters,
    draw: (scale) =>
      parameters.map((p) => {
        const data = values(p.shape, scale);
        p.grad?.dispose();
        p.grad = make(p.shape, data);
        p.grad.storage.category = "gradients";
        return data;
      }),
    dispose: () => {
      for (const p of parameters) p.dispose();
    },
  };
}

const valuesOf = (p: Tensor): Float64Array => Float64Array.from(p.dataSync());

describe.each(Object.entries(algorithms))("%s", (_, arbitrary) => {
  const cases = arbitrary.map((a) => Object.defineProperty(a, fc.toStringMethod, { value: () => a.text }));
  const seeds = fc.nat({ max: 10000 });

  /**
   * Some steps beside the written-out algorithm. Every step rounds the parameter and the update (at most as large as
   * the parameter or learningRate times ten) a few times, and carries the error on.
   */
  function follow(algorithm: Algorithm, seed: number, dtype: DType, on: Engine): void {
    const { parameters, draw, dispose } = problem(seed, { dtype, on });
    const optimizer = algorithm.make(parameters);
    const twins = parameters.map((p) => ({ p: valuesOf(p), run: algorithm.oracle(p.size, p.shape) }));
    const steps = 6;
    for (let t = 1; t <= steps; t++) {
      const rate = algorithm.learningRate / t;
      const factor = t % 2 === 0 ? undefined : 0.5;
      const gradients = draw();
      on.scope(() => {
        const gradientFactor = factor === undefined ? {} : { gradientFactor: tensor(factor, { engine: on }) };
        optimizer.step({ learningRate: rate, ...gradientFactor });
      });
      twins.forEach(({ p, run }, i) => {
        run(
          p,
          gradients[i]!.map((g) => g * (factor ?? 1)),
          t,
          rate,
        );
      });
    }
    parameters.forEach((p, i) => {
      const exact = twins[i]!.p;
      const scale = Math.max(...exact.map(Math.abs), 2) + 10 * algorithm.learningRate;
      expectClose(p.dataSync(), { exact, dtype, scale, factor: 2 * steps }, `parameter [${p.shape.join(", ")}]`);
    });
    optimizer.zeroGrad();
    optimizer.dispose();
    dispose();
  }

  test.each<DType>(["f32", "f64"])("follows its algorithm in %s, within 4 roundoffs a step", (dtype) => {
    fc.assert(
      fc.property(cases, seeds, (algorithm, seed) => follow(algorithm, seed, dtype, engine)),
      runs(40),
    );
  });

  test("follows its algorithm on the reference backend, through decompositions", () => {
    const reference = new Engine(new ReferenceBackend());
    fc.assert(
      fc.property(cases, seeds, (algorithm, seed) => follow(algorithm, seed, "f32", reference)),
      runs(10),
    );
  });

  test("continues bit for bit from its saved state, whatever it did before", async () => {
    await fc.assert(
      fc.asyncProperty(cases, seeds, fc.nat({ max: 4 }), async (algorithm, seed, before) => {
        const a = problem(seed);
        const b = problem(seed);
        const first = algorithm.make(a.parameters);
        const run = (p: Problem, optimizer: typeof first, skipped: number): void => {
          p.draw();
          // A parameter without a gradient is left alone, and its own counter with it.
          if (skipped < p.parameters.length) dropGradient(p.parameters[skipped]!);
          optimizer.step();
        };
        for (let i = 0; i < before; i++) {
          run(a, first, i);
          b.draw();
        }
        const second = algorithm.make(b.parameters);
        // A state used before is replaced, not mixed.
        if (seed % 2 === 0) second.step();
        second.loadStateDict(await throughHost(first.stateDict()));
        engine.scope(() => {
          b.parameters.forEach((p, i) => {
            p.assign(a.parameters[i]!);
          });
        });
        expect(second.stepCount).toBe(before);
        for (let i = 0; i < 2; i++) {
          run(a, first, 9);
          run(b, second, 9);
        }
        for (const [i, p] of b.parameters.entries()) await expectBitEqualTensors(p, a.parameters[i]!, `parameter ${i}`);
        for (const o of [first, second]) {
          o.zeroGrad();
          o.dispose();
        }
        a.dispose();
        b.dispose();
      }),
      runs(20),
    );
  });

  test("minimises a quadratic", () => {
    fc.assert(
      fc.property(cases, (algorithm) => {
        engine.scope(() => {
          const target = tensor(
            [
              [1, -2, 3],
              [0.5, 4, -1],
            ],
            { engine },
          );
          const x = tensor(
            [
              [3, 3, 3],
              [3, 3, 3],
            ],
            { engine },
          ).requireGrad();
          const loss = (): Tensor => x.sub(target).square().sum();
          const optimizer = algorithm.make([x]);
          const start = engine.noGrad(() => loss().itemSync());
          for (let i = 0; i < 300; i++) {
            engine.scope(() => loss().backward());
            optimizer.step({ learningRate: 0.1 * (1 - i / 300) });
            optimizer.zeroGrad();
          }
          // Weight decay keeps it from the bottom itself.
          expect(engine.noGrad(() => loss().itemSync())).toBeLessThan(0.05 * start);
          optimizer.dispose();
        });
      }),
      runs(15),
    );
  });

  test("keeps the state it says, counted as optimizer, and a step leaks nothing", () => {
    fc.assert(
      fc.property(cases, seeds, (algorithm, seed) => {
        const own = new Engine(new CpuBackend());
        const { parameters, draw, dispose } = problem(seed, { on: own });
        const optimizer = algorithm.make(parameters);
        expect(own.memory().live.optimizer).toBe(0);
        draw();
        optimizer.step();
        expect(own.memory().live.optimizer).toBe(shapes.reduce((n, s) => n + 4 * algorithm.stateSize(s), 0));
        expectNoLeak(own, () => optimizer.step());
        expect(parameters.every((p) => p.requiresGrad && p.grad !== undefined)).toBe(true);
        optimizer.zeroGrad();
        expect(own.memory().live.gradients).toBe(0);
        expectNoLeak(own, () => optimizer.step());
        optimizer.dispose();
        dispose();
        expect(own.liveTensors).toBe(0);
        expect(own.memory().liveBytes).toBe(0);
      }),
      runs(10),
    );
  });

  test("a step needs room for two copies of one parameter, however many there are", () => {
    fc.assert(
      fc.property(cases, (algorithm) => {
        const own = new Engine(new CpuBackend());
        const parameters = Array.from({ length: 4 }, () => zeros([64, 64], { engine: own }).requireGrad());
        for (const p of parameters) p.grad = ones([64, 64], { engine: own });
        const optimizer = algorithm.make(parameters);
        const gradientFactor = tensor(0.5, { engine: own });
        optimizer.step({ gradientFactor });
        own.ledger.resetPeak();
        const before = own.memory().liveBytes;
        optimizer.step({ gradientFactor });
        expect(own.memory().peakBytes - before).toBeLessThan(2.05 * parameters[0]!.bytes);
      }),
      runs(10),
    );
  });

  test("reads nothing back: a step runs on the shape-only backend with the same ledger", () => {
    fc.assert(
      fc.property(cases, (algorithm) => {
        const ledger = (on: Engine): unknown => {
          const { parameters, draw } = problem(1, { on });
          const optimizer = algorithm.make(parameters);
          draw();
          optimizer.step();
          return on.memory();
        };
        expect(ledger(new Engine(MetaBackend.like(engine.backend)))).toEqual(ledger(new Engine(new CpuBackend())));
      }),
      runs(5),
    );
  });

  test("a state that does not fit is refused with every reason, and the old one stays", async () => {
    const [algorithm] = fc.sample(cases, { numRuns: 1, seed: 4 }) as [Algorithm];
    const { parameters, draw, dispose } = problem(1);
    const optimizer = algorithm.make(parameters);
    draw();
    optimizer.step();
    const state = optimizer.stateDict();
    const refusal = (changes: Partial<OptimizerState>): string => {
      try {
        expectNoLeak(engine, () => {
          optimizer.loadStateDict({ ...state, ...changes });
        });
      } catch (error) {
        return (error as Error).message;
      }
      return "";
    };
    expect(refusal({ algorithm: "Other" })).toContain("it was saved by Other");
    expect(refusal({ updates: { ...state.updates, "77": 1 } })).toContain("unexpected: 77");
    const [name] = state.tensors.keys();
    if (name !== undefined) {
      expect(refusal({ tensors: new Map() })).toContain(`missing: ${name}`);
      const wrong = tensor([1, 2, 3, 4, 5, 6, 7], { engine });
      expect(refusal({ tensors: new Map([...state.tensors, [name, wrong]]) })).toContain(`mismatched: ${name}`);
      wrong.dispose();
    }
    expect(refusal({})).toBe("");
    expect(optimizer.stepCount).toBe(1);
    optimizer.dispose();
    expect(() => optimizer.step()).toThrow("used after dispose()");
    optimizer.zeroGrad();
    dispose();
  });
});

function dropGradient(p: Tensor): void {
  p.grad?.dispose();
  p.grad = undefined;
}

/** The state as a checkpoint would hold it: plain data and copied values. */
async function throughHost(state: OptimizerState): Promise<OptimizerState> {
  const { tensors, ...plain } = state;
  const copies = new Map<string, Tensor>();
  for (const [name, t] of tensors) copies.set(name, tensor(await t.data(), { shape: t.shape, engine }));
  return { ...(JSON.parse(JSON.stringify(plain)) as typeof plain), tensors: copies };
}
