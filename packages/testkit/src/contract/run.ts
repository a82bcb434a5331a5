import {
  type AnyOp,
  type Backend,
  type DType,
  dispatch,
  Engine,
  type HostData,
  isFloat,
  type Meta,
  type OpName,
  ops,
  type Tensor,
  tensor,
} from "@revnet-zero/tensor";
import { operandsOf, type Sample, type Sampler } from "../sample.ts";
import { samplers } from "../samples/index.ts";
import { Random } from "../seed.ts";

/** An op with its sampler, their attribute types forgotten. */
export interface Subject {
  readonly name: OpName;
  readonly op: AnyOp;
  // biome-ignore lint/suspicious/noExplicitAny: attribute types differ op by op.
  readonly sampler: Sampler<any>;
}

export const subject = (name: OpName): Subject => ({
  name,
  op: ops[name],
  sampler: samplers[name] as Sampler<unknown>,
});

export interface Outcome {
  readonly metas: readonly Meta[];
  readonly values: readonly HostData[];
}

/** All inputs of the op: the free operands and what is derived from them. */
export function inputsOf({ sampler }: Subject, free: readonly Tensor[], sample: Sample): readonly Tensor[] {
  return sampler.complete?.(free, sample.attrs) ?? free;
}

async function read(outputs: readonly Tensor[]): Promise<Outcome> {
  const metas = outputs.map(({ shape, dtype }) => ({ shape, dtype }));
  const values = await Promise.all(outputs.map((t) => t.data()));
  for (const t of outputs) t.dispose();
  return { metas, values };
}

export interface RunOptions {
  /** Rewrites the operands before the op sees them. */
  readonly prepare?: (engine: Engine, operands: readonly Tensor[]) => readonly Tensor[];
  /** Runs the decomposition of a fused op instead of its kernel. */
  readonly isDecomposed?: boolean;
}

/** The outputs of one call on a backend. */
export function outcome(
  backend: Backend,
  subject: Subject,
  sample: Sample,
  { prepare, isDecomposed = false }: RunOptions = {},
): Promise<Outcome> {
  const engine = new Engine(backend);
  const { op } = subject;
  const outputs = engine.scope(() =>
    engine.noGrad(() => {
      const drawn = operandsOf(engine, sample);
      const inputs = inputsOf(subject, prepare?.(engine, drawn) ?? drawn, sample);
      if (isDecomposed && op.kind === "fused") return [...op.decompose(inputs, sample.attrs)];
      return dispatch(engine, op, inputs, sample.attrs);
    }),
  );
  return read(outputs);
}

/** The outputs whose gradients count: those declared, or all that are floats. */
export function differentiable({ sampler }: Subject, outputs: readonly Tensor[]): Tensor[] {
  const { differentiableOutputs: named } = sampler;
  return outputs.filter((t, i) => (named === undefined ? isFloat(t.dtype) : named.includes(i)));
}

const cotangents = [-1.5, -1, -0.5, 0.5, 1, 1.5];

/**
 * Backpropagates fixed cotangents through one call (or its decomposition) inside a scope; gives the leaves, gradients
 * attached. Of an op that is compared with its parts, fixed-point streams are leaves too.
 */
export function backpropagate(
  engine: Engine,
  subject: Subject,
  sample: Sample,
  { isDecomposed = false }: Pick<RunOptions, "isDecomposed"> = {},
): Tensor[] {
  const { op, sampler } = subject;
  const random = new Random(sample.operands.length);
  return engine.scope(() => {
    const drawn = operandsOf(engine, sample);
    const hasStreams = sampler.compare === "parts";
    const leaves = drawn.map((t) => (isFloat(t.dtype) || hasStreams ? t.requireGrad() : t));
    const inputs = inputsOf(subject, leaves, sample);
    const outputs =
      isDecomposed && op.kind === "fused"
        ? [...op.decompose(inputs, sample.attrs)]
        : dispatch(engine, op, inputs, sample.attrs);
    const terms = differentiable(subject, outputs).map((y) => {
      const w = Float64Array.from({ length: y.size }, () => random.pick(cotangents));
      return { y, gradient: engineTensor(engine, w, y) };
    });
    for (const { y, gradient } of terms) {
      if (y.requiresGrad) y.backward({ gradient, retainGraph: true });
    }
    return leaves.filter((t) => t.requiresGrad);
  });
}

function engineTensor(engine: Engine, values: Float64Array, like: Tensor): Tensor {
  return tensor(values, { shape: like.shape, dtype: isFloat(like.dtype) ? like.dtype : "f32", engine });
}

/** Gradients by every leaf, in order. */
export async function gradients(
  backend: Backend,
  subject: Subject,
  sample: Sample,
  options: Pick<RunOptions, "isDecomposed"> = {},
): Promise<Outcome> {
  const engine = new Engine(backend);
  const leaves = backpropagate(engine, subject, sample, options);
  const found = leaves.map((x) => engine.noGrad(() => x.grad?.clone() ?? x.zerosLike()));
  for (const x of leaves) x.dispose();
  return read(found);
}

/** Whether the op runs in this type on the backend: fused ops always do, by their decomposition if need be. */
export function takes(backend: Backend, { name, op }: Subject, dtype: DType): boolean {
  if (op.kind !== "primitive") return true;
  const kernels = backend.kernels as Readonly<Record<string, { readonly dtypes?: readonly DType[] } | undefined>>;
  return kernels[name]?.dtypes?.includes(dtype) ?? true;
}
