import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Module } from "@revnet-zero/nn";
import { Engine, expectNoLeak, foldKey, type Kernel, ones, randomKey, type Tensor } from "@revnet-zero/tensor";
import { runs, wrapBackend } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  BitComparison,
  type Branch,
  checkReversible,
  compareGradients,
  type ReversibilityReport,
  type ReversibleMode,
  ReversibleSequence,
  type Streams,
} from "../src/index.ts";
import { allKinds, Gate } from "./branches.ts";
import { build, collect, newEngine, recipes, streamsOf, withSubjectAsync } from "./fixtures.ts";

const engine = newEngine();
const key = randomKey(5);
const shape = [3, 4];

/** Checks a sequence of two blocks whose first branch is `branch`. */
async function check(branch: (engine: Engine) => Branch, on: Engine = engine): Promise<ReversibilityReport> {
  const scope = on.openScope();
  const gate = new Gate(4, key, on);
  const blocks = [
    { F: branch(on), G: gate },
    { F: gate, G: (x: Tensor) => x.sin() },
  ];
  const sequence = new ReversibleSequence({ blocks, engine: on });
  const [a, b] = [ones(shape, { engine: on }), ones(shape, { engine: on }).mul(0.3)];
  const report = await checkReversible(sequence, [a, b], [b, a], { key });
  sequence.dispose();
  scope.close();
  return report;
}

const clean: Branch = (x) => x.tanh();
const right = {
  reconstructionBitEqual: true,
  reconstructionRelativeError: 0,
  reconstructionUlpError: 0,
  gradientsBitEqual: true,
  gradientRelativeError: 0,
  firstDifference: undefined,
};

describe("a sequence without defect passes", () => {
  test("whatever its branches, in every mode of the exact function, for float and fixed-point inputs", async () => {
    const modes = fc.constantFrom<ReversibleMode>("exact", "store", "checkpoint");
    // What is computed before the sequence cannot be computed again by the check.
    const arbitrary = recipes({ from: allKinds.filter((kind) => kind !== "memory") });
    await fc.assert(
      fc.asyncProperty(arbitrary, modes, fc.boolean(), async (recipe, mode, isFixed) => {
        await withSubjectAsync(build(recipe, engine), async (subject) => {
          const { sequence } = subject;
          await expectNoLeak(engine, async () => {
            const scope = engine.openScope();
            const given = streamsOf(recipe, engine);
            const inputs = given.map((x) => (isFixed ? x.quantise(recipe.fractionBits) : x)) as unknown as Streams;
            const cotangents = [ones(recipe.shape, { engine }), ones(recipe.shape, { engine })] as const;
            sequence.mode = mode;
            expect(await checkReversible(sequence, inputs, cotangents, { key })).toMatchObject(right);
            expect(sequence.mode).toBe(mode);
            scope.close();
            collect(subject);
          });
        });
      }),
      runs(40),
    );
  });

  test("and the report says how much was compared", async () => {
    const report = await check(() => clean);
    // Both streams; then both inputs' gradients and the gate's.
    expect(report).toEqual({ ...right, elementsCompared: 2 * 12 + 2 * 12 + 4 });
  });
});

describe("an engine that is off by one unit of 2^-20", () => {
  type Step = { readonly sign: 1 | -1 };
  type View = { readonly data: Int32Array };

  /** The real kernel, but one element of some differences is one unit too large. */
  function altered(element: number, isAltered: (step: Step) => boolean): Engine {
    const backend = new CpuBackend();
    const { run } = backend.kernels.fixedPointAdd as unknown as Kernel<unknown, Step>;
    const wrong: Kernel<unknown, Step> = {
      run: (inputs, outputs, step) => {
        run(inputs, outputs, step);
        if (isAltered(step)) (outputs[0] as unknown as View).data[element]! += 1;
      },
    };
    return new Engine(wrapBackend(backend, { kernels: { fixedPointAdd: wrong as unknown as Kernel<unknown, never> } }));
  }

  test("in one element of the way back fails the reconstruction, and is named", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 11 }), async (element) => {
        const report = await check(
          () => clean,
          altered(element, ({ sign }) => sign === -1),
        );
        expect(report).toMatchObject({ reconstructionBitEqual: false, gradientsBitEqual: false });
        expect(report.firstDifference).toMatch(new RegExp(`^stream [01]\\[${element}\\] is \\d+, expected \\d+$`));
        expect(report.reconstructionRelativeError).toBeGreaterThan(0);
        expect(report.reconstructionRelativeError).toBeLessThan(12 * 2 ** -20);
      }),
      runs(12),
    );
  });

  test("in backward alone passes the reconstruction and fails the gradients", async () => {
    const off = altered(2, ({ sign }) => sign === -1 && off.currentWalk !== undefined);
    const report = await check(() => clean, off);
    expect(report).toMatchObject({ reconstructionBitEqual: true, gradientsBitEqual: false });
    expect(report.firstDifference).toContain("gradient of ");
    expect(report.gradientRelativeError).toBeGreaterThan(0);
  });

  test("nowhere passes", async () => {
    expect(
      await check(
        () => clean,
        altered(0, () => false),
      ),
    ).toMatchObject(right);
  });
});

describe("a branch that is not its own twin", () => {
  /** Dropout with a key that `change` may change, given how often the branch has run. */
  const dropout = (change: (own: ReturnType<typeof randomKey>, run: number) => typeof own) => (): Branch => {
    let run = 0;
    return (x) => x.dropout(0.5, change(x.engine.nextKey("branch"), run++));
  };

  test("because its second run draws another dropout mask", async () => {
    const report = await check(dropout((own, run) => foldKey(own, run)));
    expect(report).toMatchObject({ reconstructionBitEqual: false, gradientsBitEqual: false });
    expect(report.firstDifference).toContain("stream 0[");
    expect(await check(dropout((own) => foldKey(own, 1)))).toMatchObject(right);
  });

  test("because it asks Math.random", async () => {
    const report = await check(() => (x) => x.mul(Math.random()));
    expect(report).toMatchObject({ reconstructionBitEqual: false, gradientsBitEqual: false });
    expect(report.reconstructionRelativeError).toBeGreaterThan(0);
    const once = Math.random();
    expect(await check(() => (x) => x.mul(once))).toMatchObject(right);
  });

  test("because it carries a state on", async () => {
    let state = 0;
    const report = await check(() => (x) => x.mul(state++));
    expect(report).toMatchObject({ reconstructionBitEqual: false });
  });
});

describe("a gradient that is forgotten", () => {
  /** x · context, with a context that only some runs are told to follow. */
  class Contextual extends Module {
    readonly context: Tensor;
    readonly #follows: (engine: Engine) => boolean;
    constructor(on: Engine, follows: (engine: Engine) => boolean) {
      super();
      this.context = this.parameter(ones([4], { engine: on }));
      this.#follows = follows;
    }
    override forward(x: Tensor): Tensor {
      return x.mul(this.#follows(x.engine) ? this.context : this.context.detach());
    }
  }

  test("of the context in the second run is missing, and nothing else is wrong", async () => {
    const forgetful = await check((on) => new Contextual(on, (e) => e.currentWalk === undefined));
    expect(forgetful).toMatchObject({
      reconstructionBitEqual: true,
      gradientsBitEqual: false,
      firstDifference: "gradient of blocks.0.F.context is missing",
    });
    expect(await check((on) => new Contextual(on, () => true))).toMatchObject(right);
  });

  test("of the stream is a difference", async () => {
    const cut: Branch = (x) => (x.engine.currentWalk === undefined ? x : x.detach()).tanh();
    const report = await check(() => cut);
    expect(report).toMatchObject({ reconstructionBitEqual: true, gradientsBitEqual: false });
    expect(report.firstDifference).toContain("gradient of input 1[0]");
  });
});

describe("the comparison", () => {
  const compared = (found: number[], expected: number[]): BitComparison => {
    const comparison = new BitComparison();
    comparison.add("x", Float64Array.from(found), Float64Array.from(expected));
    return comparison;
  };

  test("takes NaN as itself, and zeros of two signs as two numbers", () => {
    const [nan, infinity] = [Number.NaN, Number.POSITIVE_INFINITY];
    const same = compared([nan, infinity, 3], [nan, infinity, 3]);
    expect([same.isEqual, same.relativeError, same.elements]).toEqual([true, 0, 3]);
    const other = compared([0], [-0]);
    expect([other.isEqual, other.firstDifference]).toEqual([false, "x[0] is 0, expected -0"]);
    expect(compared([1], [nan]).relativeError).toBeNaN();
  });

  test("measures ‖found - expected‖ / ‖expected‖ over everything added", () => {
    const comparison = compared([1, 19], [1, 15]);
    comparison.add("y", Float32Array.of(3, 5), Float32Array.of(0, 5));
    expect(comparison.isEqual).toBe(false);
    expect(comparison.firstDifference).toBe("x[1] is 19, expected 15");
    expect(comparison.relativeError).toBe(Math.sqrt((4 ** 2 + 3 ** 2) / (1 + 15 ** 2 + 5 ** 2)));
    expect(() => comparison.add("z", Float32Array.of(1), Float32Array.of())).toThrow("z has 1 elements, expected 0");
  });

  test("calls a gradient that only one side has a difference", () => {
    const one = new Map([["w", Float32Array.of(1)]]);
    const none = new Map([["w", undefined]]);
    const text = (found: typeof one | typeof none, expected: typeof one | typeof none): string | undefined => {
      const comparison = new BitComparison();
      compareGradients(comparison, found, expected);
      return comparison.firstDifference;
    };
    expect([text(one, one), text(none, none)]).toEqual([undefined, undefined]);
    expect(text(none, one)).toBe("gradient of w is missing");
    expect(text(one, none)).toBe("gradient of w is unexpected");
  });
});
