import { MLP } from "@revnet-zero/nn";
import { expectNoLeak, foldKey, type MemoryReport, randomKey, type Tensor, zeros } from "@revnet-zero/tensor";
import { errorText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ReversibleBlock, type ReversibleMode, ReversibleSequence, reversibleModes } from "../src/index.ts";
import { wide } from "./branches.ts";
import { build, gradientsOf, modeRecipes, newEngine, streamsOf, withSubject } from "./fixtures.ts";

const engine = newEngine();

test("a training step leaves nothing but gradients, in every mode", () => {
  fc.assert(
    fc.property(modeRecipes(), ([recipe, mode]) =>
      withSubject(build(recipe, engine), (subject) => {
        // Counts live tensors and bytes before and after.
        const gradients = gradientsOf(subject, mode);
        expect(gradients.get("output 0")).toBeDefined();
      }),
    ),
    runs(60),
  );
});

test("disposing a sequence frees everything it made", () => {
  fc.assert(
    fc.property(modeRecipes(), ([recipe, mode]) =>
      expectNoLeak(engine, () => withSubject(build(recipe, engine), (subject) => gradientsOf(subject, mode))),
    ),
    runs(30),
  );
});

describe("a branch that throws", () => {
  /** Blocks of one function that throws in its call number `at`. */
  const failing = (depth: number, at: number): ReversibleBlock[] => {
    let calls = 0;
    const branch = (x: Tensor): Tensor => {
      const y = x.sin();
      if (calls++ === at) throw new Error("a branch failed");
      return y.mul(0.5);
    };
    return new Array<ReversibleBlock>(depth).fill({ F: branch, G: branch });
  };
  const depth = 3;
  const cases = (numbers: number): fc.Arbitrary<[ReversibleMode, number, boolean]> =>
    fc.tuple(fc.constantFrom(...reversibleModes), fc.nat({ max: numbers - 1 }), fc.boolean());

  test("in forward leaves nothing behind, whichever half-step it is", () => {
    fc.assert(
      fc.property(cases(2 * depth), ([mode, at, isScoped]) => {
        const sequence = new ReversibleSequence({ blocks: failing(depth, at), mode, fractionBits: 8, engine });
        const x = zeros([4], { engine }).requireGrad();
        const call = (): unknown => sequence.call(x, x);
        expectNoLeak(engine, () => {
          expect(errorText(isScoped ? () => engine.scope(call) : call)).toBe("Error: a branch failed");
        });
        x.dispose();
        sequence.dispose();
      }),
      runs(60),
    );
  });

  test("in backward leaves nothing behind, and the streams as they were", () => {
    fc.assert(
      fc.property(cases(2 * depth), ([mode, at]) => {
        // Of the modes that run branches twice; the others never get to the second half of the calls.
        fc.pre(!mode.startsWith("store"));
        const sequence = new ReversibleSequence({
          blocks: failing(depth, 2 * depth + at),
          mode,
          fractionBits: 8,
          engine,
        });
        const x = zeros([4], { engine }).requireGrad();
        expectNoLeak(engine, () => {
          engine.scope(() => {
            const [y1, y2] = sequence.call(x, x) as [Tensor, Tensor];
            const loss = y1.add(y2).sum();
            expect(errorText(() => loss.backward())).toBe("Error: a branch failed");
          });
          x.grad?.dispose();
          x.grad = undefined;
        });
        x.dispose();
        sequence.dispose();
      }),
      runs(60),
    );
  });

  test("in inverse leaves nothing behind", () => {
    fc.assert(
      fc.property(cases(2 * depth), ([mode, at]) => {
        const sequence = new ReversibleSequence({ blocks: failing(depth, at), mode, fractionBits: 8, engine });
        const x = zeros([4], { engine });
        expectNoLeak(engine, () => {
          const undo = mode === "lossless" ? () => sequence.invertible(x, x) : () => sequence.inverse(x, x);
          expect(errorText(undo)).toBe("Error: a branch failed");
        });
        x.dispose();
        sequence.dispose();
      }),
      runs(30),
    );
  });
});

describe("a pass whose outputs are dropped", () => {
  test("without backward leaves nothing behind", () => {
    fc.assert(
      fc.property(modeRecipes(), fc.boolean(), ([recipe, mode], isRecorded) =>
        withSubject(build(recipe, engine), (subject) => {
          subject.setMode(mode);
          expectNoLeak(engine, () =>
            engine.scope(() => {
              subject.refresh();
              const inputs = streamsOf(recipe, engine).map((x) => x.requireGrad(isRecorded)) as [Tensor, Tensor];
              engine.withKey(randomKey(1), () => subject.sequence.call(...inputs));
              for (const x of inputs) x.dispose();
            }),
          );
        }),
      ),
      runs(40),
    );
  });

  test("outside of all scopes frees its memory with its outputs", () => {
    fc.assert(
      fc.property(modeRecipes({ from: ["mlp", "own", "plain", "captured"] }), ([recipe, mode]) =>
        withSubject(build(recipe, engine), (subject) => {
          subject.setMode(mode);
          const inputs = streamsOf(recipe, engine).map((x) => x.requireGrad()) as [Tensor, Tensor];
          expectNoLeak(engine, () => {
            for (const y of subject.sequence.call(...inputs)) y.dispose();
          });
          for (const x of inputs) x.dispose();
        }),
      ),
      runs(30),
    );
  });
});

describe("activation bytes of a training step", () => {
  const [rows, dim] = [32, 8];

  interface Usage {
    /** Between forward and backward. */
    readonly held: MemoryReport;
    readonly step: MemoryReport;
  }

  function usage(mode: ReversibleMode, depth: number): Usage {
    const own = newEngine();
    const mlp = (i: number): MLP => new MLP({ dim, key: foldKey(randomKey(1), i), engine: own, init: wide });
    const blocks = Array.from({ length: depth }, (_, i) => ({ F: mlp(2 * i), G: mlp(2 * i + 1) }));
    const sequence = new ReversibleSequence({ blocks, mode, engine: own });
    // Gradients of parameters grow with depth in every mode: without them the peak is one of activations.
    sequence.requireGrad(false);
    own.ledger.resetPeak();
    const held = own.scope(() => {
      const x = zeros([rows, dim], { engine: own }).requireGrad();
      const [y1, y2] = sequence.call(x, x) as [Tensor, Tensor];
      const loss = y1.add(y2).sum();
      const between = own.memory();
      loss.backward();
      return between;
    });
    return { held, step: own.memory() };
  }
  const activations = (mode: ReversibleMode, depth: number): number => usage(mode, depth).step.activationBytes;

  test.each(["exact", "float"] as const)("in mode %s are the same at any depth", (mode) => {
    const shallow = activations(mode, 2);
    for (const depth of [3, 8, 24]) expect(activations(mode, depth)).toBe(shallow);
  });

  test("in mode exact a graph of any depth holds two streams", () => {
    for (const depth of [1, 8]) {
      const { held } = usage("exact", depth);
      expect(held.live.streams + held.live.saved).toBe(2 * rows * dim * 4);
    }
  });

  test.each(["store", "store-float"] as const)("in mode %s grow by every block's hidden layers", (mode) => {
    const [four, eight, twelve] = [4, 8, 12].map((depth) => activations(mode, depth)) as [number, number, number];
    expect(twelve - eight).toBe(eight - four);
    // Two MLPs a block, of a hidden layer four times as wide.
    expect(eight - four).toBeGreaterThanOrEqual(4 * 2 * rows * 4 * dim * 4);
  });

  test("in mode checkpoint grow by two streams a block", () => {
    const [four, eight] = [4, 8].map((depth) => activations("checkpoint", depth)) as [number, number];
    expect(eight - four).toBe(4 * 2 * rows * dim * 4);
  });

  test.each(reversibleModes)("under noGrad in mode %s are the same at any depth", (mode) => {
    const peak = (depth: number): number => {
      const own = newEngine();
      const half = (x: Tensor): Tensor => x.sin();
      const blocks = new Array<ReversibleBlock>(depth).fill({ F: half, G: half });
      const sequence = new ReversibleSequence({ blocks, mode, engine: own });
      own.ledger.resetPeak();
      own.scope(() => {
        const x = zeros([rows, dim], { engine: own });
        own.noGrad(() => sequence.call(x, x));
      });
      return own.memory().activationBytes;
    };
    expect(peak(16)).toBe(peak(2));
  });
});
