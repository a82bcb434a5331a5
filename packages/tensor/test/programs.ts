import fc from "fast-check";
import { type Engine, type Tensor, tensor } from "../src/index.ts";

// Small random computations: every step takes two matrices [2, 3] and gives one, is smooth, and keeps values small,
// so that steps combine freely and differences are exact enough to judge gradients by.

export const shape = [2, 3] as const;

type Step = (x: Tensor, y: Tensor) => Tensor;

/** x² + 1: something to divide by. */
const positive = (x: Tensor): Tensor => x.square().add(1);
const places = (x: Tensor, values: readonly number[]): Tensor => tensor(Int32Array.from(values), { engine: x.engine });

export const steps = {
  add: (x, y) => x.add(y),
  sub: (x, y) => x.sub(y),
  mul: (x, y) => x.mul(y).sin(),
  div: (x, y) => x.div(positive(y)),
  cube: (x) => x.mul(x).mul(x).mul(0.1),
  power: (x, y) => positive(x).pow(y.tanh()),
  angle: (x, y) => x.atan2(positive(y)),
  tanh: (x) => x.tanh(),
  exp: (x) => x.cos().exp(),
  log: (x) => positive(x).log(),
  root: (x) => positive(x).sqrt(),
  inverse: (x) => positive(x).reciprocal().add(positive(x).rsqrt()),
  sigmoid: (x) => x.sigmoid(),
  softplus: (x) => x.softplus(),
  gelu: (x) => x.gelu(),
  silu: (x, y) => x.silu().sub(y.geluExact()),
  erf: (x) => x.erf(),
  "sums of rows": (x, y) => x.sub(y.mean(1, { keepDims: true })),
  "a row for all": (x, y) => x.mul(y.narrow(0, 1, 1)).tanh(),
  "a scalar for all": (x, y) => x.add(y.sum().sin()),
  variance: (x, y) => x.mul(y.variance(0)).tanh(),
  "log-sum-exp": (x, y) => x.sub(y.logSumExp(0, { keepDims: true })),
  softmax: (x) => x.softmax().add(x.logSoftmax(0).mul(0.3)),
  cumsum: (x) => x.cumsum(0).add(x.cumsum(1)).mul(0.5),
  matmul: (x, y) => x.matmul(y.transpose()).tanh().matmul(x),
  linear: (x, y) =>
    x
      .linear(y, y.narrow(1, 0, 1).squeeze(1), "gelu")
      .sum(1, { keepDims: true })
      .add(x)
      .tanh(),
  layerNorm: (x, y) => x.layerNorm(y.sum(0), y.mean(0), 0.5),
  rmsNorm: (x, y) => x.rmsNorm(y.sum(0).cos(), 0.5),
  attention: (x, y) => {
    const heads = (t: Tensor): Tensor => t.reshape([1, 1, 2, 3]);
    return heads(x).attention(heads(y), heads(x), { isCausal: true }).reshape(shape);
  },
  "transposed views": (x, y) =>
    x
      .transpose()
      .mul(y.reshape([3, 2]))
      .sin()
      .transpose(),
  "parts added": (x) => {
    const [a, b, c] = x.split(3) as [Tensor, Tensor, Tensor];
    return a.mul(b).sin().add(x).sub(c);
  },
  "padded slice": (x, y) =>
    x.add(
      y.slice([0, 1], [1, 2]).pad([
        [1, 0],
        [0, 1],
      ]),
    ),
  "written slice": (x, y) => x.writeSlice(y.narrow(1, 0, 2).flip(1), [0, 1]),
  concat: (x, y) => x.concat([y.flip(0)], 1).slice([0, 2], [2, 3]),
  flip: (x, y) => x.flip([0, 1]).add(y),
  expand: (x, y) => x.narrow(1, 2, 1).expand(shape).mul(y.cos()),
  take: (x, y) => x.take(places(x, [2, 0, 2]), 1).sub(y),
  takeAlong: (x, y) => x.takeAlong(places(x, [1, 1, 0, 2, 0, 2]).reshape(shape), 1).add(y.tanh()),
  scatterAdd: (x) => x.scatterAdd(places(x, [1, 1]), 0, 2),
  choose: (x, y) => places(x, [1, 0, 1, 0, 0, 1]).reshape(shape).cast("bool").where(x, y.sin()),
} as const satisfies Readonly<Record<string, Step>>;

type StepName = keyof typeof steps;

export interface Program {
  readonly inputs: number;
  /** A step and its operands, counted back from the newest value. */
  readonly code: readonly (readonly [StepName, number, number])[];
}

/** Straight-line programs over one to three inputs. Operands are mostly recent values, and may be one value twice. */
export const programs: fc.Arbitrary<Program> = fc.record({
  inputs: fc.integer({ min: 1, max: 3 }),
  code: fc.array(
    fc.tuple(
      fc.constantFrom(...(Object.keys(steps) as StepName[])),
      fc.oneof(fc.constant(0), fc.nat({ max: 3 })),
      fc.nat({ max: 3 }),
    ),
    { minLength: 1, maxLength: 6 },
  ),
});

/** The program as a function of its inputs. `each` is given every value as it is made, and gives what stands for it. */
export const run =
  ({ code }: Program, each: (value: Tensor) => Tensor = (v) => v) =>
  (...inputs: Tensor[]): Tensor => {
    const values = [...inputs];
    const back = (n: number): Tensor => values[values.length - 1 - (n % values.length)]!;
    for (const [name, a, b] of code) values.push(each(steps[name](back(a), back(b))));
    return values[values.length - 1]!;
  };

/** Runs `f` and frees what it made. */
export const within = async (engine: Engine, f: () => Promise<void>): Promise<void> => {
  const scope = engine.openScope("property");
  try {
    await f();
  } finally {
    scope.close();
  }
};
