import { Dropout, Sequential } from "@revnet-zero/nn";
import { expectNoLeak, ones, randomKey, type Tensor } from "@revnet-zero/tensor";
import { expectBitEqual, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type ReversibleMode, ReversibleSequence, reversibleModes } from "../src/index.ts";
import { allKinds, type Kind } from "./branches.ts";
import {
  build,
  collect,
  expectSameGradients,
  type Gradients,
  gradientsOf,
  newEngine,
  type PassOptions,
  pass,
  type Recipe,
  recipes,
  type Subject,
  streamsOf,
  withSubject,
} from "./fixtures.ts";

const engine = newEngine();

/** Holds the gradients of `exact` and `checkpoint` to those of `store`. */
function expectModesAgree(gradients: (mode: ReversibleMode) => Gradients): Gradients {
  const stored = gradients("store");
  for (const mode of ["exact", "checkpoint"] as const) expectSameGradients(gradients(mode), stored, mode);
  return stored;
}

/** The same for passes with options made from the subject. */
const modesAgree = (
  arbitrary: fc.Arbitrary<Recipe>,
  options: (subject: Subject) => PassOptions,
  numRuns = 25,
): void => {
  fc.assert(
    fc.property(arbitrary, (recipe) =>
      withSubject(build(recipe, engine), (subject) => {
        expectModesAgree((mode) => gradientsOf(subject, mode, options(subject)));
      }),
    ),
    runs(numRuns),
  );
};

const without = (...left: Kind[]): Kind[] => allKinds.filter((k) => !left.includes(k));

test("one module in every place: its gradient is the sum over all of them, added in the stored order", () => {
  const arbitrary = recipes({ from: ["mlp", "own", "captured", "memory", "attention"] }).map((r) => ({
    ...r,
    pool: r.pool.slice(0, 1),
    blocks: [...r.blocks, ...r.blocks].map(() => [0, 0] as const),
  }));
  modesAgree(arbitrary, () => ({}));
});

test("gradients accumulate over micro-batches as stored ones do", () => {
  fc.assert(
    fc.property(recipes(), (recipe) =>
      withSubject(build(recipe, engine), (subject) => {
        expectModesAgree((mode) =>
          expectNoLeak(engine, () => {
            pass(subject, mode);
            const second = { ...subject, recipe: { ...recipe, seed: recipe.seed + 1 } };
            pass(second, mode);
            return collect(subject);
          }),
        );
      }),
    ),
    runs(25),
  );
});

test("bf16 autocast around the forward pass reaches the branches that run again outside of it", () => {
  modesAgree(recipes(), ({ sequence }) => ({
    call: (a, b) => engine.autocast("bf16", () => sequence.call(a, b)),
  }));
  const recipe: Recipe = { shape: [4, 4], fractionBits: 20, pool: ["mlp"], blocks: [[0, 0]], values: "plain", seed: 1 };
  withSubject(build(recipe, engine), (subject) => {
    const call = (a: Tensor, b: Tensor): Tensor[] => engine.autocast("bf16", () => subject.sequence.call(a, b));
    const [low, full] = [gradientsOf(subject, "exact", { call }), gradientsOf(subject, "exact")];
    expect(low.get("input 0")).not.toEqual(full.get("input 0"));
  });
});

test("modules switched to eval (or to train) between forward and backward run again as they first did", () => {
  const arbitrary = recipes({ from: ["mlp", "gated", "dropout", "own"] });
  for (const isTraining of [true, false]) {
    fc.assert(
      fc.property(arbitrary, (recipe) =>
        withSubject(build(recipe, engine), (subject) => {
          const { sequence } = subject;
          const gradients = (mode: ReversibleMode, between = (): void => {}): Gradients => {
            sequence.train(isTraining);
            return gradientsOf(subject, mode, { between });
          };
          const stored = gradients("store");
          for (const mode of ["exact", "checkpoint"] as const) {
            const toggled = gradients(mode, () => {
              sequence.train(!isTraining);
            });
            expectSameGradients(toggled, stored, mode);
            // The present flags are as the user left them.
            for (const m of sequence.namedModules().values()) expect(m.training).toBe(!isTraining);
          }
        }),
      ),
      runs(15),
    );
  }
});

test("two sequences joined by fixed-point streams give what one does", () => {
  const arbitrary = recipes({ from: without("gated", "dropout", "drawing", "nested") });
  fc.assert(
    fc.property(arbitrary, fc.nat({ max: 5 }), (recipe, cut) =>
      withSubject(build(recipe, engine), (subject) => {
        const { fractionBits } = recipe;
        const { blocks } = subject.sequence;
        const halves = [blocks.slice(0, cut), blocks.slice(cut)].map(
          (part) => new ReversibleSequence({ blocks: part, fractionBits, engine }),
        ) as [ReversibleSequence, ReversibleSequence];
        const [first, second] = halves;
        const inTwo = (a: Tensor, b: Tensor): Tensor[] => {
          for (const h of halves) h.mode = subject.sequence.mode;
          const [c, d] = first.call(a.quantise(fractionBits), b.quantise(fractionBits)) as [Tensor, Tensor];
          return second.call(c, d).map((y) => y.dequantise(fractionBits));
        };
        const whole = gradientsOf(subject, "store");
        for (const mode of ["store", "exact", "checkpoint"] as const) {
          expectSameGradients(gradientsOf(subject, mode, { call: inTwo }), whole, `${mode} in two`);
        }
        for (const h of halves) for (const b of h.namedBuffers().values()) b.dispose();
      }),
    ),
    runs(25),
  );
});

test("a loss that reads one output, or one stream taken twice", () => {
  modesAgree(recipes(), () => ({ reads: [true, false] }));
  modesAgree(recipes(), () => ({ reads: [false, true] }));
  modesAgree(recipes(), ({ sequence }) => ({ call: (a) => sequence.call(a, a) }));
  modesAgree(recipes(), ({ sequence, recipe: { fractionBits } }) => ({
    call: (a) => {
      const s = a.quantise(fractionBits);
      return sequence.call(s, s);
    },
  }));
});

test("inputs of any float dtype get gradients of that dtype", () => {
  for (const dtype of ["bf16", "f16", "f64"] as const) {
    const inputs = (recipe: Recipe) => (): [Tensor, Tensor] => {
      const [a, b] = streamsOf(recipe, engine);
      return [a.cast(dtype), b.cast(dtype)];
    };
    modesAgree(recipes(), ({ recipe }) => ({ inputs: inputs(recipe) }));
    const x = ones([4], { engine, dtype }).requireGrad();
    const sequence = new ReversibleSequence({ blocks: [{ F: (t) => t.sin(), G: (t) => t.cos() }], engine });
    for (const mode of reversibleModes) {
      sequence.mode = mode;
      engine.scope(() => sequence.call(x, x)[0]!.sum().backward());
      expect(x.grad!.dtype).toBe(dtype);
      x.grad!.dispose();
      x.grad = undefined;
    }
    x.dispose();
    sequence.dispose();
  }
});

test("an input that the loss, and another computation before it, read too", () => {
  modesAgree(recipes(), ({ sequence }) => ({
    call: (a, b) => {
      const [y1, y2] = sequence.call(a.mul(b), b) as [Tensor, Tensor];
      return [y1.add(a.sin()), y2.mul(b)];
    },
  }));
});

test("frozen inputs, and frozen modules, leave the other gradients as they are", () => {
  fc.assert(
    fc.property(recipes(), (recipe) =>
      withSubject(build(recipe, engine), (subject) => {
        const { sequence } = subject;
        const stored = gradientsOf(subject, "store");
        const call = (a: Tensor, b: Tensor): Tensor[] => sequence.call(a.detach(), b);
        const detached = expectModesAgree((mode) =>
          // The loss reads the other input, so that there is always something to differentiate.
          gradientsOf(subject, mode, { call: (a, b) => call(a, b).map((y) => y.add(b)) }),
        );
        expect(detached.get("input 0")).toBeUndefined();
        sequence.requireGrad(false);
        const frozen = expectModesAgree((mode) => gradientsOf(subject, mode));
        sequence.requireGrad();
        for (const name of sequence.namedParameters().keys()) expect(frozen.get(name)).toBeUndefined();
        for (const name of ["output 0", "input 0", "input 1"])
          expectBitEqual(frozen.get(name)!, stored.get(name)!, name);
      }),
    ),
    runs(25),
  );
});

test("a graph kept with retainGraph gives its gradients a second time", () => {
  fc.assert(
    fc.property(recipes(), (recipe) =>
      withSubject(build(recipe, engine), (subject) => {
        expectModesAgree((mode) =>
          expectNoLeak(engine, () =>
            engine.scope(() => {
              subject.setMode(mode);
              const [a, b] = streamsOf(recipe, engine).map((x) => x.requireGrad()) as [Tensor, Tensor];
              subject.refresh();
              const [y1, y2] = engine.withKey(randomKey(2), () => subject.sequence.call(a, b)) as [Tensor, Tensor];
              const loss = y1.mul(0.5).add(y2).sum();
              loss.backward({ retainGraph: true });
              const once = new Map([...collect(subject), ["input", a.grad!.dataSync().slice()] as const]);
              a.grad!.dispose();
              a.grad = undefined;
              loss.backward();
              const again = new Map([...collect(subject), ["input", a.grad!.dataSync()] as const]);
              expectSameGradients(again, once, "again");
              for (const x of [a, b]) x.dispose();
              return again;
            }),
          ),
        );
      }),
    ),
    runs(25),
  );
});

test("under noGrad a pass gives the same bits, records nothing and keeps its outputs only", () => {
  fc.assert(
    fc.property(recipes(), (recipe) =>
      withSubject(build(recipe, engine), (subject) => {
        const stored = gradientsOf(subject, "store");
        for (const mode of ["exact", "store", "checkpoint"] as const) {
          subject.setMode(mode);
          engine.scope(() => {
            subject.refresh();
            const inputs = streamsOf(recipe, engine).map((x) => x.requireGrad()) as [Tensor, Tensor];
            const before = engine.memory();
            const outputs = engine.noGrad(() =>
              engine.withKey(randomKey(recipe.seed), () => subject.sequence.call(...inputs)),
            );
            outputs.forEach((y, i) => {
              expect(y.requiresGrad).toBe(false);
              expectBitEqual(y.dataSync(), stored.get(`output ${i}`)!, `${mode} output ${i}`);
            });
            expect(engine.memory().live.saved).toBe(before.live.saved);
            expect(engine.memory().liveBytes).toBe(before.liveBytes + 2 * 4 * inputs[0].size);
            for (const x of inputs) x.dispose();
          });
        }
      }),
    ),
    runs(25),
  );
});

test("every pass draws a new key, and each place a key of its own", () => {
  engine.scope(() => {
    const layer = new Sequential(new Dropout(0.5));
    const sequence = new ReversibleSequence({ blocks: [{ F: layer, G: layer }], engine });
    const x = ones([64], { engine });
    const two = (): Tensor[][] =>
      engine.withKey(randomKey(1), () => [sequence.call(x, x), sequence.call(x, x)] as Tensor[][]);
    const [[a, b], [c]] = two() as [[Tensor, Tensor], [Tensor, Tensor]];
    expect(c.dataSync()).not.toEqual(a.dataSync());
    expect(b.sub(1).greater(0).dataSync()).not.toEqual(a.sub(1).greater(0).dataSync());
    const [[again], [cAgain]] = two() as [[Tensor], [Tensor]];
    expectBitEqual(again.dataSync(), a.dataSync());
    expectBitEqual(cAgain.dataSync(), c.dataSync());
    sequence.dispose();
  });
});
