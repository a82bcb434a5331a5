import { type HostData, type Tensor, tensor } from "@revnet-zero/tensor";
import { errorText, expectBitEqual, expectClose, Random, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  affine,
  gated,
  hamiltonian,
  leapfrog,
  midpoint,
  momentum,
  multiStream,
  type ReversibleBlock,
  ReversibleSequence,
  reversibleHeun,
  steps,
  userDefined,
} from "../src/index.ts";
import { buildCoupled, type CoupledRecipe, coupledGradients, streamWords, withCoupled } from "./coupled.ts";
import { exactCouplings } from "./couplings.ts";
import { expectSameGradients, newEngine } from "./fixtures.ts";

const engine = newEngine();

type Numbers = readonly number[];
type Formula = (...streams: Numbers[]) => Numbers[];
const each = (f: (...v: number[]) => number, ...xs: Numbers[]): Numbers =>
  xs[0]!.map((_, i) => f(...xs.map((x) => x[i]!)));

const h = 0.25;
const f = (x: Tensor): Tensor => x.sin();
const g = (x: Tensor): Tensor => x.mul(0.5).tanh();
const G = (v: number): number => Math.tanh(0.5 * v);

/** Every coupling with branches of one operation, and what it computes, written out. */
const formulas: Readonly<
  Record<string, { readonly block: ReversibleBlock; readonly formula: Formula; readonly streams?: number }>
> = {
  additive: {
    block: { F: f, G: g },
    formula: (a, b) => {
      const y1 = each((p, q) => p + Math.sin(q), a!, b!);
      return [y1, each((q, p) => q + G(p), b!, y1)];
    },
  },
  midpoint: {
    block: midpoint({ f, stepSize: h }),
    formula: (a, b) => [b!, each((p, q) => p + 2 * h * Math.sin(q), a!, b!)],
  },
  leapfrog: {
    block: leapfrog({ f, stepSize: h }),
    formula: (a, b) => [b!, each((p, q) => 2 * q - p + h * h * Math.sin(q), a!, b!)],
  },
  "hamiltonian, euler": {
    block: hamiltonian({ force: f, velocity: g, stepSize: h }),
    formula: (p, q) => {
      const momentum = each((v, x) => v + h * Math.sin(x), p!, q!);
      return [momentum, each((x, v) => x + h * G(v), q!, momentum)];
    },
  },
  "hamiltonian, verlet": {
    block: hamiltonian({ force: f, stepSize: h, scheme: "verlet" }),
    formula: (p, q) => {
      const half = each((v, x) => v + (h / 2) * Math.sin(x), p!, q!);
      const position = each((x, v) => x + h * v, q!, half);
      return [each((v, x) => v + (h / 2) * Math.sin(x), half, position), position];
    },
  },
  reversibleHeun: {
    block: reversibleHeun({ f, stepSize: h }),
    formula: (y, z) => {
      const z1 = each((u, v) => 2 * u - v + h * Math.sin(v), y!, z!);
      return [each((u, v, w) => u + (h / 2) * (Math.sin(v) + Math.sin(w)), y!, z!, z1), z1];
    },
  },
  gated: {
    block: gated({
      F: { experts: [f, g], gate: (x) => x.concat([x.mul(-1)], -1) },
      G: { experts: [g], gate: (x) => x, scale: 2 },
    }),
    formula: (a, b) => {
      // Channels are one: the gate's two logits are x and -x.
      const y1 = each(
        (p, q) => {
          const weight = 1 / (1 + Math.exp(-2 * q));
          return p + weight * Math.sin(q) + (1 - weight) * G(q);
        },
        a!,
        b!,
      );
      return [y1, each((q, p) => q + 2 * G(p), b!, y1)];
    },
  },
  multiStream: {
    streams: 3,
    block: multiStream({
      streams: 3,
      steps: [
        { target: 0, sources: [1, 2], branch: (x: Tensor, y: Tensor) => x.mul(y).sin(), times: -2 },
        steps.permute(1, 2, 0),
        steps.combine({ target: 0, sign: -1, terms: [{ source: 2, times: 3 }] }),
      ],
    }),
    formula: (a, b, c) => {
      const x = each((p, q, r) => p - 2 * Math.sin(q * r), a!, b!, c!);
      return [each((q, p) => -q + 3 * p, b!, x), c!, x];
    },
  },
  affine: {
    block: affine({ F: (x) => x.sin().concat([x.mul(0.5).tanh()], -1), G: (x) => x.concat([x.sin()], -1), bound: 1.5 }),
    formula: (a, b) => {
      const s = (raw: number): number => 1.5 * Math.tanh(raw / 1.5);
      const y1 = each((p, q) => p * Math.exp(s(Math.sin(q))) + G(q), a!, b!);
      return [y1, each((q, p) => q * Math.exp(s(p)) + Math.sin(p), b!, y1)];
    },
  },
  momentum: {
    block: momentum({ f, gamma: 0.8 }),
    formula: (x, v) => {
      const next = each((a, b) => 0.8 * b + 0.2 * Math.sin(a), x!, v!);
      return [each((a, b) => a + b, x!, next), next];
    },
  },
  userDefined: {
    block: userDefined({
      forward: (a: Tensor, b: Tensor) => [b, a.mul(2)],
      inverse: (a: Tensor, b: Tensor) => [b.div(2), a],
    }),
    formula: (a, b) => [b!, each((v) => 2 * v, a!)],
  },
};
const isExact = (name: string): boolean => !["affine", "momentum", "userDefined"].includes(name);

describe.each(Object.entries(formulas))("%s", (name, { block, formula, streams = 2 }) => {
  const modes = isExact(name)
    ? (["exact", "store", "checkpoint", "float", "store-float"] as const)
    : (["float", "store-float"] as const);

  test("is its formula, in every mode that has it, and its inverse undoes it", () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom(...modes), (seed, mode) => {
        engine.scope(() => {
          const random = new Random(seed);
          const values = Array.from({ length: streams }, () =>
            Array.from({ length: 4 }, () => Math.fround(random.between(-1, 1))),
          );
          const xs = values.map((v) => tensor(v, { shape: [4, 1], dtype: "f32", engine }));
          const sequence = new ReversibleSequence({ blocks: [block, block], mode, fractionBits: 24, engine });
          const ys = sequence.call(xs[0]!, ...xs.slice(1));
          const expected = formula(...formula(...values));
          // Numbers below 16 on a grid of 2^-24, a handful of roundings each.
          ys.forEach((y, i) => {
            expectClose(y.dataSync(), { exact: [...expected[i]!], dtype: "f32", scale: 16, factor: 8 }, `stream ${i}`);
          });
          sequence.inverse(ys[0]!, ...ys.slice(1)).forEach((x, i) => {
            expectClose(x.dataSync(), { exact: values[i]!, dtype: "f32", scale: 64, factor: 8 }, `input ${i}`);
          });
          for (const b of sequence.namedBuffers().values()) b.dispose();
        });
      }),
      runs(20),
    );
  });
});

const twoStreams = Object.keys(formulas).filter((name) => !["multiStream", "userDefined"].includes(name));

test.each(twoStreams)("%s has the log-determinant of its numeric Jacobian", (name) => {
  const { block, formula } = formulas[name]!;
  const streams = 2;
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = new Random(seed);
      const at = Array.from({ length: streams }, () => random.between(-1, 1));
      // One number a stream: the Jacobian is [streams, streams], by central differences of the formula in float64.
      const step = 1e-5;
      const jacobian = at.map((_, j) => {
        const moved = (by: number): number[] => formula(...at.map((v, i) => [i === j ? v + by : v])).map((y) => y[0]!);
        const [up, down] = [moved(step), moved(-step)];
        return up.map((v, i) => (v - down[i]!) / (2 * step));
      }) as [[number, number], [number, number]];
      const [[p, q], [r, s]] = jacobian;
      engine.scope(() => {
        const sequence = new ReversibleSequence({ blocks: [block], mode: "float", engine });
        const xs = at.map((v) => tensor([v], { shape: [1, 1], dtype: "f32", engine }));
        const { logDeterminant } = sequence.transform(xs[0]!, ...xs.slice(1));
        expect(logDeterminant.shape).toEqual([1]);
        expect(Math.abs(logDeterminant.itemSync() - Math.log(Math.abs(p * s - q * r)))).toBeLessThan(1e-5);
        for (const b of sequence.namedBuffers().values()) b.dispose();
      });
    }),
    runs(30),
  );
});

const shallow: Omit<CoupledRecipe, "coupling"> = {
  sort: "f32",
  shape: [2, 4],
  depth: 1000,
  gain: 1,
  dropout: 0,
  values: "plain",
  fractionBits: 20,
  seed: 3,
};

describe.each(Object.keys(exactCouplings))("%s, deep", (coupling) => {
  test("1000 blocks come back bit for bit", () => {
    withCoupled(buildCoupled({ ...shallow, coupling }, engine), (subject) => {
      engine.scope(() =>
        engine.noGrad(() => {
          const { sequence } = subject;
          const xs = streamWords(subject);
          const ys = sequence.call(xs[0]!, ...xs.slice(1));
          expect(ys[0]!.dataSync()).not.toEqual(xs[0]!.dataSync());
          sequence.inverse(ys[0]!, ...ys.slice(1)).forEach((x, i) => {
            expectBitEqual(x.dataSync(), xs[i]!.dataSync() as HostData, `stream ${i}`);
          });
        }),
      );
    });
  });

  test("gradients of 12 to 96 blocks have the bits of stored ones, branches in f32 and bf16, small and large", () => {
    for (const depth of [12, 96]) {
      for (const sort of ["f32", "bf16"] as const) {
        for (const gain of [0.1, 4]) {
          withCoupled(buildCoupled({ ...shallow, coupling, depth, sort, gain }, engine), (subject) => {
            const stored = coupledGradients(subject, "store");
            expectSameGradients(coupledGradients(subject, "exact"), stored, `${depth} blocks, ${sort}, gain ${gain}`);
          });
        }
      }
    }
  });
});

describe("blocks that make no sense", () => {
  const branch = f;
  const twice = (x: Tensor): Tensor => x.concat([x], -1);
  test.each([
    [
      "a source that is the target",
      "step 0 adds to stream 0 what it computes from streams [0]",
      () => multiStream({ streams: 2, steps: [{ target: 0, sources: [0], branch }] }),
    ],
    [
      "a source named twice",
      "step 0 adds to stream 0 what it computes from streams [1,1]",
      () => multiStream({ streams: 2, steps: [{ target: 0, sources: [1, 1], branch }] }),
    ],
    [
      "no source",
      "step 0 adds to stream 0 what it computes from streams []",
      () => multiStream({ streams: 2, steps: [{ target: 0, sources: [], branch }] }),
    ],
    [
      "a fraction of an increment",
      "add: times is 0.5",
      () => multiStream({ streams: 2, steps: [{ target: 0, sources: [1], branch, times: 0.5 }] }),
    ],
    [
      "a fraction of a stream",
      "combine: a coefficient is 0.5",
      () => steps.combine({ target: 0, terms: [{ source: 1, times: 0.5 }] }),
    ],
    [
      "a combination with itself",
      "stream 0 is to receive multiples of streams [0]",
      () => steps.combine({ target: 0, terms: [{ source: 0, times: 2 }] }),
    ],
    ["no streams", "multiStream: streams is 0", () => multiStream({ streams: 0, steps: [] })],
    [
      "a mixture of nothing",
      "GatedMixture: there are no experts",
      () => gated({ F: { experts: [], gate: f }, G: { experts: [], gate: f } }),
    ],
    ["a decay of one", "momentum: gamma is 1", () => momentum({ f, gamma: 1 })],
    ["a bound of nothing", "affine: bound is 0", () => affine({ F: f, G: f, bound: 0 })],
  ])("%s", (_, text, make) => {
    expect(errorText(make)).toContain(text);
  });

  const place =
    (...blocks: ReversibleBlock[]) =>
    () =>
      new ReversibleSequence({ blocks, engine });
  test.each([
    [
      "a stream that is not there",
      "multiStream: there is no stream 2",
      place(multiStream({ streams: 2, steps: [{ target: 2, sources: [1], branch }] })),
    ],
    [
      "a permutation that drops one",
      "multiStream: [0,0,1] is no permutation of 3 streams",
      place(multiStream({ streams: 3, steps: [steps.permute(0, 0, 1)] })),
    ],
    [
      "blocks of different numbers of streams",
      "block 1 (multiStream) joins 3 streams, block 0 (additive) 2",
      place({ F: f, G: f }, multiStream({ streams: 3, steps: [] })),
    ],
  ])("%s", (_, text, make) => {
    expect(errorText(make)).toContain(text);
  });

  const run = (block: ReversibleBlock, mode: "exact" | "float" | "store") => () =>
    engine.scope(() => {
      const x = tensor([1, 2], { shape: [1, 2], dtype: "f32", engine });
      return new ReversibleSequence({ blocks: [block], mode, engine }).call(x, x);
    });
  test.each([
    [
      "an affine coupling on a grid",
      "int32 fixed-point streams cannot undo a multiplication",
      run(affine({ F: twice, G: twice }), "exact"),
    ],
    [
      "an affine branch of one half",
      "affine: branch F returned [1, 2] f32 for [1, 2] f32",
      run(affine({ F: f, G: f }), "float"),
    ],
    [
      "a gate without logits for all",
      "the gate returned [1, 2] f32 for [1, 2] f32 and 1 experts",
      run(gated({ F: { experts: [f], gate: f }, G: { experts: [f], gate: f } }), "exact"),
    ],
    [
      "a map of one's own on a grid",
      "custom map of block 0 is a float map: on int32 fixed-point streams its inverse would not be exact",
      run(userDefined({ forward: (...x) => x, inverse: (...x) => x }), "exact"),
    ],
    [
      "a map of one's own that loses a stream",
      "forward of the custom map of block 0 returned [1, 2] f32 for [1, 2] f32, [1, 2] f32",
      run(userDefined({ forward: (x) => [x], inverse: (x) => [x] }), "float"),
    ],
    [
      "streams missing",
      "got 1 streams, the blocks join 2",
      () =>
        engine.scope(() =>
          new ReversibleSequence({ blocks: [{ F: f, G: f }], engine }).call(tensor([1], { dtype: "f32", engine })),
        ),
    ],
  ])("%s", (_, text, make) => {
    expect(errorText(make)).toContain(text);
  });
});

test("a sequence keeps its parameters' names under any coupling", () => {
  const recipe: CoupledRecipe = { ...shallow, depth: 2, coupling: "midpoint" };
  withCoupled(buildCoupled(recipe, engine), ({ sequence }) => {
    expect([...sequence.namedParameters().keys()]).toEqual([
      "blocks.0.f.up",
      "blocks.0.f.down",
      "blocks.1.f.up",
      "blocks.1.f.down",
    ]);
  });
});
