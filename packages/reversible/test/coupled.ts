import { LayerNorm, Module, PreNormBranch } from "@revnet-zero/nn";
import {
  type Engine,
  expectNoLeak,
  foldKey,
  type HostData,
  type Key,
  type MemoryReport,
  numel,
  randomKey,
  randomNormal,
  type Shape,
  type Tensor,
  tensor,
  zeros,
} from "@revnet-zero/tensor";
import { drawValues, Random, type ValueKind } from "@revnet-zero/testkit";
import fc from "fast-check";
import {
  type BlockPolicy,
  type Branch,
  losslessPolicies,
  type OffloadStore,
  type ReversibleBlock,
  type ReversibleMode,
  ReversibleSequence,
} from "../src/index.ts";
import { exactCouplings, floatCouplings, type MakeBranch } from "./couplings.ts";
import type { Gradients } from "./fixtures.ts";

/** What a branch is, besides two matrices with tanh between them. */
export const sorts = ["f32", "bf16", "dropout", "normed", "context"] as const;
export type Sort = (typeof sorts)[number];

/** What is passed to a sequence of sort `context`. */
export interface Context {
  readonly memory: Tensor;
  readonly mask: Tensor;
}

interface NetOptions {
  readonly key: Key;
  readonly engine: Engine;
  readonly sort: Sort;
  readonly dim: number;
  readonly inputs: number;
  readonly width: number;
  readonly gain: number;
  readonly dropout: number;
}

/** [..., inputs · dim] -> tanh -> [..., width]. */
class Net extends Module {
  readonly up: Tensor;
  readonly down: Tensor;
  readonly #options: NetOptions;

  constructor(options: NetOptions) {
    super();
    const { key, engine, dim, inputs, width, gain } = options;
    const matrix = (index: number, rows: number, columns: number): Tensor =>
      this.parameter(randomNormal([rows, columns], { key: foldKey(key, index), engine, std: gain / Math.sqrt(rows) }));
    this.up = matrix(0, inputs * dim, dim + 1);
    this.down = matrix(1, dim + 1, width);
    this.#options = options;
  }

  override forward(x: Tensor, ...rest: unknown[]): Tensor {
    const { sort, inputs, dropout } = this.#options;
    const others = rest.slice(0, inputs - 1) as Tensor[];
    const all = others.length === 0 ? x : x.concat(others, -1);
    const net = (): Tensor => all.matmul(this.up).tanh().matmul(this.down);
    if (sort === "bf16") return x.engine.autocast("bf16", net);
    const y = net();
    if (sort === "dropout") return y.dropout(dropout, x.engine.nextKey("net"));
    const context = rest.at(-1) as Context;
    if (sort === "context") return y.mul(context.mask).add(context.memory.sum(-1, { keepDims: true }).mul(0.25));
    return y;
  }
}

/** A net after a norm, which the step before may compute. */
class Normed extends PreNormBranch {
  readonly norm: LayerNorm;
  readonly net: Net;
  constructor(options: NetOptions) {
    super();
    this.norm = new LayerNorm({ dim: options.dim, engine: options.engine });
    this.net = new Net(options);
  }
  protected override body(x: Tensor, ...rest: unknown[]): Tensor {
    return this.net.call(x, ...rest);
  }
}

/** How to build a sequence of one coupling. */
export interface CoupledRecipe {
  readonly coupling: string;
  readonly sort: Sort;
  readonly shape: Shape;
  readonly depth: number;
  readonly gain: number;
  readonly dropout: number;
  readonly values: ValueKind;
  readonly fractionBits: number | "auto";
  readonly seed: number;
}

export function coupledRecipes({
  couplings = Object.keys(exactCouplings),
  mostDepth = 6,
}: {
  readonly couplings?: readonly string[];
  readonly mostDepth?: number;
} = {}): fc.Arbitrary<CoupledRecipe> {
  return fc
    .record({
      coupling: fc.constantFrom(...couplings),
      sort: fc.constantFrom(...sorts),
      rows: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 2 }),
      dim: fc.constantFrom(1, 2, 3, 5, 8),
      depth: fc.integer({ min: 1, max: mostDepth }),
      gain: fc.constantFrom(0.1, 1, 6),
      dropout: fc.double({ min: 0, max: 0.95, noNaN: true }),
      values: fc.constantFrom<ValueKind>("plain", "plain", "extreme"),
      fractionBits: fc.constantFrom(20, 20, 12, 27),
      seed: fc.nat({ max: 1e6 }),
    })
    .map(({ rows, dim, ...rest }) => ({ ...rest, shape: [...rows, dim] }));
}

/** A plan for a recipe's blocks. */
export const plansOf = (depth: number): fc.Arbitrary<readonly BlockPolicy[]> =>
  fc.array(fc.constantFrom(...losslessPolicies), { minLength: depth, maxLength: depth });

export interface Coupled {
  readonly engine: Engine;
  readonly recipe: CoupledRecipe;
  readonly sequence: ReversibleSequence;
  /** What the context's memory is computed from. */
  readonly source: Tensor;
  dispose(): void;
}

export function buildCoupled(recipe: CoupledRecipe, engine: Engine): Coupled {
  const { coupling, sort, shape, depth, gain, dropout, seed, fractionBits } = recipe;
  const dim = shape.at(-1)!;
  const make: MakeBranch = (key, inputs = 1, width = dim): Branch => {
    const options = { key, engine, sort, dim, inputs, width, gain, dropout };
    return sort === "normed" && inputs === 1 ? new Normed(options) : new Net(options);
  };
  const block = { ...exactCouplings, ...floatCouplings }[coupling]!;
  const blocks: ReversibleBlock[] = Array.from({ length: depth }, (_, i) =>
    block(make, foldKey(randomKey(seed), i), dim),
  );
  const sequence = new ReversibleSequence({ blocks, fractionBits, engine });
  const source = engine.keep(randomNormal([...shape], { key: randomKey(seed + 1), engine }).requireGrad());
  return {
    engine,
    recipe,
    sequence,
    source,
    dispose: () => {
      sequence.dispose();
      source.dispose();
    },
  };
}

export function valuesOf({ shape, seed, values }: CoupledRecipe, index: number, kind = values): Float32Array {
  return Float32Array.from(drawValues(new Random(seed + 31 * index), numel(shape), "f32", kind));
}

/** The context of a pass, computed anew from the source; call it in the scope of the pass. */
export function contextOf({ recipe, source, engine }: Coupled): Context {
  const { shape, seed } = recipe;
  const random = new Random(seed + 5);
  const mask = tensor(
    Float32Array.from({ length: numel(shape) / shape.at(-1)! }, () => random.pick([0, 1])),
    {
      shape: [...shape.slice(0, -1), 1],
      engine,
    },
  );
  return { memory: source.mul(0.5).tanh(), mask };
}

/** Any 32-bit words as streams. */
export function streamWords({ engine, recipe, sequence }: Coupled): Tensor[] {
  const random = new Random(recipe.seed + 7);
  return Array.from({ length: sequence.numStreams }, () =>
    tensor(
      Int32Array.from({ length: numel(recipe.shape) }, () => random.integer(-(2 ** 31), 2 ** 31 - 1)),
      { shape: recipe.shape, engine },
    ),
  );
}

export interface CoupledPass {
  readonly plan?: readonly BlockPolicy[] | undefined;
  /** Between forward and backward. */
  readonly between?: () => void;
}

/** Outputs, log-determinant and all gradients of one pass, by name. Fails when it leaves anything alive. */
export function coupledGradients(
  subject: Coupled,
  mode: ReversibleMode,
  { plan, between }: CoupledPass = {},
): Gradients {
  const { engine, recipe, sequence, source } = subject;
  sequence.mode = mode;
  sequence.plan = plan && { blocks: plan };
  return expectNoLeak(engine, () =>
    engine.scope(() => {
      const found = new Map<string, HostData | undefined>();
      const take = (name: string, t: Tensor): void => {
        found.set(name, t.grad?.dataSync());
        t.grad?.dispose();
        t.grad = undefined;
      };
      const xs = Array.from({ length: sequence.numStreams }, (_, i) =>
        tensor(valuesOf(recipe, i), { shape: recipe.shape, engine }).requireGrad(),
      );
      const context = contextOf(subject);
      const { streams, logDeterminant } = engine.withKey(randomKey(recipe.seed), () =>
        sequence.transform(xs[0]!, ...xs.slice(1), context),
      );
      streams.forEach((y, i) => {
        found.set(`output ${i}`, y.dataSync());
      });
      found.set("log-determinant", logDeterminant.dataSync());
      // The mask's handle is gone before backward: the graph must hold what the second run reads.
      context.mask.dispose();
      between?.();
      const terms = streams.map((y, i) =>
        y.mul(tensor(valuesOf(recipe, 10 + i, "plain"), { shape: recipe.shape, engine })),
      );
      terms
        .reduce((a, b) => a.add(b))
        .sum()
        .add(logDeterminant.sum().mul(0.5))
        .backward();
      xs.forEach((x, i) => {
        take(`input ${i}`, x);
        x.dispose();
      });
      take("context", source);
      for (const [name, p] of sequence.namedParameters()) take(name, p);
      return found;
    }),
  );
}

/** The peak of a pass of zeros through a recipe's blocks under a plan, and what it was made of: on a backend with values and without. */
export function coupledPeak(
  recipe: CoupledRecipe,
  engine: Engine,
  { blocks: plan, offload }: { readonly blocks: readonly BlockPolicy[]; readonly offload: OffloadStore },
): Pick<MemoryReport, "peakBytes" | "atPeak"> {
  return withCoupled(buildCoupled({ ...recipe, sort: "f32" }, engine), ({ sequence: { blocks, fractionBits } }) => {
    const sequence = new ReversibleSequence({ blocks, fractionBits, engine, plan: { blocks: plan }, offload });
    engine.ledger.resetPeak();
    engine.scope(() => {
      const xs = Array.from({ length: sequence.numStreams }, () => zeros(recipe.shape, { engine }).requireGrad());
      const ys = sequence.call(xs[0]!, ...xs.slice(1));
      ys.reduce((a, b) => a.add(b))
        .sum()
        .backward();
    });
    const { peakBytes, atPeak } = engine.memory();
    return { peakBytes, atPeak };
  });
}

/** Uses a subject and frees it. */
export function withCoupled<T>(subject: Coupled, f: (subject: Coupled) => T): T {
  try {
    return f(subject);
  } finally {
    subject.dispose();
  }
}
