import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, expectNoLeak, type Kernel, ones, type Tensor, tensor } from "@revnet-zero/tensor";
import { errorText, Random, runs, wrapBackend } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BlockPolicy, type Branch, type CheckLevel, ReversibleSequence } from "../src/index.ts";
import { buildCoupled, coupledGradients, coupledRecipes, plansOf, withCoupled } from "./coupled.ts";
import { expectSameGradients, newEngine } from "./fixtures.ts";

const levels = fc.constantFrom<CheckLevel>("sums", "values");
const shape = [2, 3, 4];

type Step = { readonly sign: 1 | -1 };
type View = { readonly data: Int32Array };

/** An engine whose difference number `at` of a backward pass adds `changes` to elements of its result. */
function faulty(at: number, changes: ReadonlyMap<number, number>): Engine {
  const backend = new CpuBackend();
  const { run } = backend.kernels.fixedPointAdd as unknown as Kernel<unknown, Step>;
  let calls = 0;
  const wrong: Kernel<unknown, Step> = {
    run: (inputs, outputs, step) => {
      run(inputs, outputs, step);
      if (step.sign === 1 || engine.currentWalk === undefined || calls++ !== at) return;
      for (const [element, by] of changes) (outputs[0] as unknown as View).data[element]! += by;
    },
  };
  const engine = new Engine(
    wrapBackend(backend, { kernels: { fixedPointAdd: wrong as unknown as Kernel<unknown, never> } }),
  );
  return engine;
}

/** A step of `depth` additive blocks of constant branches: what goes wrong in one place shows there alone. */
function step(engine: Engine, depth: number, check: CheckLevel, branch?: Branch, plan?: readonly BlockPolicy[]): void {
  const constant: Branch = (x) => x.zerosLike().add(0.3);
  const blocks = Array.from({ length: depth }, () => ({ F: branch ?? constant, G: constant }));
  const sequence = new ReversibleSequence({ blocks, engine, check, plan: plan && { blocks: plan } });
  const x = ones(shape, { engine }).requireGrad();
  try {
    engine.scope(() => {
      const [a, b] = sequence.call(x, x.mul(2)) as [Tensor, Tensor];
      a.add(b).sum().backward();
    });
  } finally {
    sequence.dispose();
    x.dispose();
  }
}

/** `[1, 0, 3]` */
const positionOf = (element: number): string =>
  `[${Math.floor(element / 12)}, ${Math.floor(element / 4) % 3}, ${element % 4}]`;

describe("a rebuilt stream with other bits than it had", () => {
  const depth = 4;
  const cases = fc.record({
    at: fc.nat({ max: 2 * depth - 1 }),
    element: fc.nat({ max: 23 }),
    by: fc.integer().filter((v) => v !== 0),
    level: levels,
  });

  test("is named: block, stream, element, and both words", () => {
    fc.assert(
      fc.property(cases, ({ at, element, by, level }) => {
        const engine = faulty(at, new Map([[element, by]]));
        // The last block comes back first, its second stream before its first.
        const [block, stream] = [depth - 1 - (at >> 1), at % 2 === 0 ? 1 : 0];
        const text = errorText(() => step(engine, depth, level));
        expect(text).toMatch(/^ReconstructionError: reversible: stream /);
        expect(text).toContain(`stream ${stream} at the start of block ${block} did not come back as it was`);
        const words = /element (\[.*\]) is the word (-?\d+), it was (-?\d+)/.exec(text)!;
        expect(words[1]).toBe(positionOf(element));
        expect((Number(words[2]) - Number(words[3])) | 0).toBe(by | 0);
      }),
      runs(60),
    );
  });

  test("in several elements: the first by its value, or by its row", () => {
    const several = fc.uniqueArray(fc.nat({ max: 23 }), { minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(several, levels, fc.nat(), (elements, level, seed) => {
        const random = new Random(seed);
        const changes = new Map(elements.map((e) => [e, random.pick([-1, 1]) * random.integer(1, 100)]));
        const text = errorText(() => step(faulty(0, changes), depth, level));
        const first = Math.min(...elements);
        const row = 4 * Math.floor(first / 4);
        const isAlone = elements.filter((e) => Math.floor(e / 4) === row / 4).length === 1;
        if (level === "values" || isAlone) expect(text).toContain(`element ${positionOf(first)} is`);
        else {
          expect(text).toContain(
            `several elements of the row from ${positionOf(row)} to ${positionOf(row + 3)} differ`,
          );
        }
      }),
      runs(60),
    );
  });

  test("leaves nothing behind", () => {
    const engine = faulty(3, new Map([[5, 1]]));
    expectNoLeak(engine, () => {
      expect(errorText(() => step(engine, depth, "sums"))).toMatchInlineSnapshot(`
        "ReconstructionError: reversible: stream 0 at the start of block 2 did not come back as it was: element [0, 1, 1] is the word 1677723, it was 1677722
          hint: a branch after this place is not its own twin: randomness without the engine's keys, a state that it carries on, or tensors changed in between (checkReversible looks at a sequence alone)"
      `);
    });
  });
});

describe("a branch that is not its own twin", () => {
  const engine = newEngine();
  let calls = 0;
  const moody: Branch = (x) => x.zerosLike().add(calls++ / 8);

  test("is found where its block is rebuilt", () => {
    expect(errorText(() => step(engine, 3, "sums", moody))).toContain("stream 0 at the start of block 2");
  });

  test("is found where its block is run again, or fetched and run again", () => {
    for (const policy of ["checkpoint", "offload"] as const) {
      const text = errorText(() => step(engine, 3, "values", moody, ["store", policy, "store"]));
      expect(text).toContain(
        "stream 0 at the end of block 1 did not come back as it was: element [0, 0, 0] is the word",
      );
    }
  });

  test("is not looked for unless asked", () => {
    const blocks = [{ F: moody, G: moody }];
    const sequence = new ReversibleSequence({ blocks, engine });
    const x = ones(shape, { engine }).requireGrad();
    engine.scope(() => sequence.call(x, x)[0]!.sum().backward());
    expect(sequence.check).toBe(false);
    sequence.dispose();
    x.dispose();
  });
});

test("checked passes of any coupling and plan go through, and give the same bits", () => {
  const engine = newEngine();
  const cases = coupledRecipes().chain((recipe) => fc.tuple(fc.constant(recipe), plansOf(recipe.depth), levels));
  fc.assert(
    fc.property(cases, ([recipe, plan, level]) =>
      withCoupled(buildCoupled(recipe, engine), (subject) => {
        const stored = coupledGradients(subject, "store");
        subject.sequence.check = level;
        expectSameGradients(coupledGradients(subject, "exact", { plan }), stored, `plan ${plan}`);
        expectSameGradients(coupledGradients(subject, "exact"), stored, "exact");
      }),
    ),
    runs(40),
  );
});

test("float streams have nothing to check", () => {
  const engine = newEngine();
  const sequence = new ReversibleSequence({
    blocks: [{ F: (x) => x, G: (x) => x }],
    mode: "float",
    check: true,
    engine,
  });
  engine.scope(() => {
    const x = tensor([1], { dtype: "f32", engine });
    expect(errorText(() => sequence.call(x, x))).toMatchInlineSnapshot(`
      "ValueError: ReversibleSequence: f32 streams come back with other bits than they had: there is nothing to check
        hint: use an exact mode; drift() says how far float streams have drifted"
    `);
  });
  sequence.dispose();
});
