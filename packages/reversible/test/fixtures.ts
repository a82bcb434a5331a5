import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Module } from "@revnet-zero/nn";
import {
  Engine,
  expectNoLeak,
  foldKey,
  type HostData,
  numel,
  randomKey,
  randomNormal,
  type Shape,
  type Tensor,
  tensor,
} from "@revnet-zero/tensor";
import { drawValues, expectBitEqual, Random, type ValueKind } from "@revnet-zero/testkit";
import fc from "fast-check";
import { type Branch, type ReversibleMode, ReversibleSequence, reversibleModes } from "../src/index.ts";
import { allKinds, type Kind, kinds, type Parts } from "./branches.ts";

export const newEngine = (): Engine => new Engine(new CpuBackend());

/** How to build a sequence: blocks name entries of the pool, so that one branch may serve in several places. */
export interface Recipe {
  readonly shape: Shape;
  readonly fractionBits: number;
  readonly pool: readonly Kind[];
  readonly blocks: readonly (readonly [number, number])[];
  readonly values: ValueKind;
  readonly seed: number;
}

export function recipes({
  from = allKinds,
  most = 5,
}: {
  from?: readonly Kind[];
  most?: number;
} = {}): fc.Arbitrary<Recipe> {
  const index = fc.nat({ max: 11 });
  return fc
    .record({
      shape: fc.tuple(
        fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
        fc.constantFrom(1, 2, 3, 4, 7).map((dim) => [dim]),
      ),
      fractionBits: fc.oneof({ weight: 2, arbitrary: fc.constant(20) }, { weight: 1, arbitrary: fc.nat({ max: 30 }) }),
      pool: fc.array(fc.constantFrom(...from), { minLength: 1, maxLength: 4 }),
      blocks: fc.array(fc.tuple(index, index), { minLength: 1, maxLength: most }),
      values: fc.constantFrom<ValueKind>("plain", "plain", "extreme"),
      seed: fc.nat({ max: 1e6 }),
    })
    .map(({ shape, pool, blocks, ...rest }) => ({
      ...rest,
      pool,
      shape: shape.flat(),
      blocks: blocks.map(([f, g]) => [f % pool.length, g % pool.length] as const),
    }));
}

/** Branches whose values stay in a small range, whatever their input. */
const bounded: readonly Kind[] = [
  "mlp",
  "tanh",
  "normed",
  "attention",
  "dropout",
  "drawing",
  "plain",
  "captured",
  "half",
];

/** A recipe that a mode can run: grid streams must stay in their range, and say so when they do not. */
export const fitting = (recipe: Recipe, mode: ReversibleMode): Recipe =>
  mode.endsWith("grid-f32")
    ? {
        ...recipe,
        values: "plain",
        fractionBits: Math.min(recipe.fractionBits, 12),
        pool: recipe.pool.map((kind) => (bounded.includes(kind) ? kind : "plain")),
      }
    : recipe;

/** Any mode, and a recipe for it. */
export const modeRecipes = (options?: Parameters<typeof recipes>[0]): fc.Arbitrary<[Recipe, ReversibleMode]> =>
  fc.tuple(recipes(options), fc.constantFrom(...reversibleModes)).map(([r, mode]) => [fitting(r, mode), mode]);

export type Gradients = ReadonlyMap<string, HostData | undefined>;

/** A sequence with everything that gradients must reach. */
export interface Subject {
  readonly engine: Engine;
  readonly recipe: Recipe;
  readonly sequence: ReversibleSequence;
  /** Every parameter, captured ones too, by name. */
  readonly leaves: ReadonlyMap<string, Tensor>;
  /** Makes what is computed before the sequence anew; call it in the scope of the pass. */
  refresh(): void;
  setMode(mode: ReversibleMode): void;
  dispose(): void;
}

export function build(recipe: Recipe, engine: Engine = newEngine()): Subject {
  const { shape, seed, fractionBits } = recipe;
  const dim = shape.at(-1)!;
  const captured: Tensor[] = [];
  const outside: Module[] = [];
  const leaf = (of: Shape): Tensor => {
    const values = randomNormal(of, { key: foldKey(randomKey(seed), 1000 + captured.length), engine, std: 0.7 });
    captured.push(engine.keep(values).requireGrad());
    return values;
  };
  const source = leaf([dim]);
  let memory: Tensor | undefined;
  const pool = recipe.pool.map((kind, i) =>
    (kinds[kind] as (parts: Parts) => Branch)({
      engine,
      shape,
      dim,
      key: foldKey(randomKey(seed), i),
      leaf,
      own: (module) => {
        outside.push(module);
        return module;
      },
      memory: () => memory!,
    }),
  );
  const blocks = recipe.blocks.map(([f, g]) => ({ F: pool[f]!, G: pool[g]! }));
  const sequence = new ReversibleSequence({ blocks, fractionBits, engine });
  const leaves = new Map(captured.map((t, i) => [`captured ${i}`, t]));
  for (const [name, p] of sequence.namedParameters()) leaves.set(name, p);
  outside.forEach((m, i) => {
    for (const [name, p] of m.namedParameters()) leaves.set(`outside ${i} ${name}`, p);
  });
  return {
    engine,
    recipe,
    sequence,
    leaves,
    refresh: () => {
      memory = source.tanh().mul(1.5);
    },
    setMode: (mode) => {
      for (const m of [sequence, ...outside]) if (m instanceof ReversibleSequence) m.mode = mode;
    },
    dispose: () => {
      for (const m of [sequence, ...outside]) m.dispose();
      for (const t of captured) t.dispose();
      for (const b of pool) if (b instanceof Module) b.dispose();
    },
  };
}

/** Numbers for a stream, the same for the same seed. */
export function streamValues({ shape, seed, values }: Recipe, index: number, kind: ValueKind = values): Float32Array {
  return Float32Array.from(drawValues(new Random(seed + 31 * index), numel(shape), "f32", kind));
}

/** Two streams of a recipe's values. */
export const streamsOf = (recipe: Recipe, engine: Engine): [Tensor, Tensor] => {
  const at = (i: number): Tensor => tensor(streamValues(recipe, i), { shape: recipe.shape, engine });
  return [at(0), at(1)];
};

/** Any 32-bit words as streams. */
export function wordsOf({ shape, seed }: Recipe, engine: Engine): [Tensor, Tensor] {
  const random = new Random(seed + 7);
  const words = (): Tensor =>
    tensor(
      Int32Array.from({ length: numel(shape) }, () => random.integer(-(2 ** 31), 2 ** 31 - 1)),
      { shape, engine },
    );
  return [words(), words()];
}

export interface PassOptions {
  /** What is called with the two input leaves instead of the sequence. */
  readonly call?: (x1: Tensor, x2: Tensor) => readonly Tensor[];
  /** Between forward and backward. */
  readonly between?: () => void;
  /** Which outputs the loss reads. Default both. */
  readonly reads?: readonly boolean[];
  readonly inputs?: () => [Tensor, Tensor];
}

/** Adds the gradients of Σ c·y to those that are there; returns the inputs' gradients and the outputs. */
export function pass(
  subject: Subject,
  mode: ReversibleMode,
  options: PassOptions = {},
): Map<string, HostData | undefined> {
  const { engine, recipe, sequence } = subject;
  const { call = (a, b) => sequence.call(a, b), between, reads = [true, true] } = options;
  const { inputs = () => streamsOf(recipe, engine) } = options;
  subject.setMode(mode);
  return engine.scope(() => {
    const xs = inputs().map((x) => (x.dtype === "i32" ? x : x.requireGrad()));
    subject.refresh();
    const outputs = engine.withKey(randomKey(recipe.seed), () => call(xs[0]!, xs[1]!));
    between?.();
    const terms = outputs.flatMap((y, i) => {
      if (!reads[i]) return [];
      const c = tensor(streamValues(recipe, 10 + i, "plain"), { shape: recipe.shape, engine });
      const value = y.dtype === "i32" ? y.dequantise(recipe.fractionBits) : y;
      return [value.mul(c).sum()];
    });
    const found = new Map<string, HostData | undefined>(outputs.map((y, i) => [`output ${i}`, y.dataSync()]));
    terms.reduce((a, b) => a.add(b)).backward();
    xs.forEach((x, i) => {
      found.set(`input ${i}`, x.grad?.dataSync());
      x.dispose();
    });
    return found;
  });
}

/** The gradients that passes have left in the parameters, copied and freed. */
export function collect({ leaves }: Subject): Map<string, HostData | undefined> {
  const found = new Map<string, HostData | undefined>();
  for (const [name, p] of leaves) {
    found.set(name, p.grad?.dataSync());
    p.grad?.dispose();
    p.grad = undefined;
  }
  return found;
}

/** One pass: outputs and all gradients. Fails when it leaves anything alive. */
export function gradientsOf(subject: Subject, mode: ReversibleMode, options?: PassOptions): Gradients {
  return expectNoLeak(subject.engine, () => new Map([...pass(subject, mode, options), ...collect(subject)]));
}

/** Throws unless both have the same names, and the same bits under each. */
export function expectSameGradients(found: Gradients, expected: Gradients, what: string): void {
  for (const [name, e] of expected) {
    const f = found.get(name);
    if ((f === undefined) !== (e === undefined)) {
      throw new Error(`${what}: ${name} is ${f === undefined ? "missing" : "unexpected"}`);
    }
    if (f !== undefined && e !== undefined) expectBitEqual(f, e, `${what}: ${name}`);
  }
  if (found.size !== expected.size) throw new Error(`${what}: ${found.size} names, expected ${expected.size}`);
}

/** Uses a subject and frees it. */
export function withSubject(subject: Subject, f: (subject: Subject) => void): void {
  try {
    f(subject);
  } finally {
    subject.dispose();
  }
}

export async function withSubjectAsync(subject: Subject, f: (subject: Subject) => Promise<void>): Promise<void> {
  try {
    await f(subject);
  } finally {
    subject.dispose();
  }
}
