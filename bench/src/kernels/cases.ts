import { type AnyOp, type Engine, ops, randomKey, randomNormal, type Tensor, zeros } from "@revnet-zero/tensor";

/** A fused op with operands it can be given again and again. */
export interface FusedCase {
  readonly op: AnyOp;
  readonly inputs: readonly Tensor[];
  readonly attrs: unknown;
}

interface Sizes {
  readonly rows: number;
  readonly columns: number;
  readonly tokens: number;
  readonly parameters: number;
}
const full: Sizes = { rows: 4096, columns: 1024, tokens: 512, parameters: 2 ** 22 };
const quick: Sizes = { rows: 8, columns: 32, tokens: 8, parameters: 64 };

type Make = (n: (...shape: number[]) => Tensor, sizes: Sizes, engine: Engine) => FusedCase;
const key = randomKey(7);

const cases: { readonly [name: string]: Make } = {
  softmax: (n, { rows, columns }) => ({ op: ops.softmax, inputs: [n(rows, columns)], attrs: { axis: -1 } }),
  softmaxBackward: (n, { rows, columns }) => ({
    ...{ op: ops.softmaxBackward, inputs: [n(rows, columns).softmax(), n(rows, columns)], attrs: { axis: -1 } },
  }),
  crossEntropy: (n, { rows, columns }, engine) => ({
    ...{ op: ops.crossEntropy, inputs: [n(rows, columns), zeros([rows], { dtype: "i32", engine })], attrs: undefined },
  }),
  crossEntropyBackward: (n, { rows, columns }, engine) => {
    const targets = zeros([rows], { dtype: "i32", engine });
    return { op: ops.crossEntropyBackward, inputs: [n(rows, columns), targets, n(rows), n(rows)], attrs: undefined };
  },
  layerNorm: (n, { rows, columns }) => ({
    ...{ op: ops.layerNorm, inputs: [n(rows, columns), n(columns), n(columns)], attrs: { eps: 1e-5 } },
  }),
  layerNormBackward: (n, { rows, columns }) => ({
    op: ops.layerNormBackward,
    inputs: [n(rows, columns), n(columns), n(rows), n(rows), n(rows, columns)],
    attrs: { eps: 1e-5 },
  }),
  rmsNorm: (n, { rows, columns }) => ({
    ...{ op: ops.rmsNorm, inputs: [n(rows, columns), n(columns)], attrs: { eps: 1e-5 } },
  }),
  rmsNormBackward: (n, { rows, columns }) => ({
    op: ops.rmsNormBackward,
    inputs: [n(rows, columns), n(columns), n(rows), n(rows, columns)],
    attrs: { eps: 1e-5 },
  }),
  addNorm: (n, { rows, columns }) => ({
    ...{ op: ops.addNorm, inputs: [n(rows, columns), n(rows, columns), n(columns), n(columns)], attrs: { eps: 1e-5 } },
  }),
  // Counting, as forward passes do.
  fixedPointAddNorm: (n, { rows, columns }, engine) => ({
    op: ops.fixedPointAddNorm,
    inputs: [n(rows, columns).quantise(20), n(rows, columns), n(columns), n(columns), recordOn(engine)],
    attrs: { fractionBits: 20, sign: 1, eps: 1e-5, row: 0 },
  }),
  attention: (n, { tokens }) => {
    const [q, k, v] = [n(4, 8, tokens, 64), n(4, 8, tokens, 64), n(4, 8, tokens, 64)];
    return { op: ops.attention, inputs: [q, k, v], attrs: { isCausal: true, scale: 0.125 } };
  },
  attentionBackward: (n, { tokens }) => {
    const [q, k, v] = [n(4, 8, tokens, 64), n(4, 8, tokens, 64), n(4, 8, tokens, 64)];
    const attrs = { isCausal: true, scale: 0.125 };
    const [o, lse] = q.applyAll(ops.attention, [q, k, v], attrs) as [Tensor, Tensor];
    return { op: ops.attentionBackward, inputs: [q, k, v, o, lse, n(4, 8, tokens, 64)], attrs };
  },
  adamw: (n, { parameters }) => ({
    op: ops.adamw,
    inputs: [n().reshape([]), n(3).square(), n(parameters), n(parameters), n(parameters), n(parameters).square()],
    attrs: { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1 },
  }),
  dropout: (n, { rows, columns }) => ({ op: ops.dropout, inputs: [n(rows, columns)], attrs: { p: 0.1, key } }),
  rope: (n, { tokens }) => {
    const x = n(4, 8, tokens, 64);
    return { op: ops.rope, inputs: [x, x.rangeOf(tokens, "i32")], attrs: { base: 10000, direction: 1 } };
  },
  fixedPointAdd: (n, { rows, columns }, engine) => ({
    op: ops.fixedPointAdd,
    inputs: [n(rows, columns).quantise(20), n(rows, columns), recordOn(engine)],
    attrs: { fractionBits: 20, sign: 1, row: 0 },
  }),
};

const recordOn = (engine: Engine): Tensor => zeros([1, 3], { dtype: "i32", engine });

export const caseNames: readonly string[] = Object.keys(cases);

/** Operands of a case; they live until the engine's scope ends. */
export function makeCase(name: string, engine: Engine, isQuick: boolean): FusedCase {
  let seed = 0;
  const normal = (...shape: number[]): Tensor => randomNormal(shape, { key: randomKey(++seed), engine });
  return cases[name]!(normal, isQuick ? quick : full, engine);
}
