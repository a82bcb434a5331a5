import { savesOf } from "../autograd/opNode.ts";
import { type BufferView, findKernel, type Kernel } from "../backend.ts";
import { type DType, isFloat } from "../dtype.ts";
import type { Engine } from "../engine.ts";
import { BackendError, DTypeError, describe, LifetimeError, NonFiniteError, ValueError } from "../errors.ts";
import { contiguous, isContiguous, type Layout } from "../layout.ts";
import type { Storage } from "../memory/storage.ts";
import type { AnyOp, ElementwiseOp, Meta, OpDef } from "../op.ts";
import { cast } from "../ops/copy.ts";
import { type Shape, sameShape } from "../shape.ts";
import { castForPolicy, castOperand } from "./autocast.ts";
import { makeTensor } from "./link.ts";
import { isRecorded, record } from "./record.ts";
import { type Inside, placed, type Rows, rowsAt } from "./rows.ts";
import type { Tensor } from "./tensor.ts";

/** Most ops write to no input, and into no tensor there is: they share this, since many arrays an op are what a small one waits for. */
const none: readonly never[] = [];

type AnyKernel = Kernel<unknown, unknown>;

export interface DispatchOptions {
  /**
   * The caller gives up the input that the op may overwrite, or this input of an elementwise one: its buffer is reused when nobody else holds it.
   */
  readonly donates?: boolean | number;
  /** Rows of tensors that outputs become, by their place: what would be concatenated afterwards is written where it belongs. */
  readonly into?: readonly (Rows | undefined)[];
}

/**
 * THE way to run an op: checks -> shape rule -> buffers -> kernel (or decomposition) -> graph node. What must be true
 * of every op lives here, once.
 */
export function dispatch<A>(
  engine: Engine,
  op: OpDef<A>,
  given: readonly Tensor[],
  attrs: A,
  options: DispatchOptions = {},
): Tensor[] {
  checkInputs(engine, op, given);
  engine.noteUse(given);
  const inputs = castForPolicy(engine, op, given, castTo);
  const metas = op.meta(inputs, attrs);
  const outputs = (engine.trace.isOn ? runTraced : run)(engine, op, inputs, metas, attrs, options);
  if (engine.checksFinite) checkFinite(engine, op, outputs);
  const recorded = record(engine, op, inputs, outputs, attrs);
  // What autocast made lives on only where the graph saved it.
  inputs.forEach((t, i) => {
    if (t !== given[i]) t.dispose();
  });
  return recorded;
}

const castTo = (t: Tensor, dtype: DType): Tensor => dispatch(t.engine, cast, [t], { dtype })[0]!;

/** `t.cast(dtype)` of what may be a parameter, as autocast does it: a parameter's values in fewer bits are kept, and not made again until it is written. */
export const lowered = (t: Tensor, dtype: DType): Tensor => castOperand(t, dtype, castTo);

function checkInputs(engine: Engine, op: AnyOp, inputs: readonly Tensor[]): void {
  if (op.arity !== "variadic" && op.arity !== inputs.length) {
    throw new ValueError(op.name, `takes ${op.arity} tensors, got ${inputs.length}`, `${op.name} is: ${op.doc}`);
  }
  for (const t of inputs) {
    t.assertAlive(op.name);
    if (t.engine !== engine) {
      throw new BackendError(
        op.name,
        `operands belong to two engines (${engine.backend.name} and ${t.engine.backend.name})`,
        "make both on one engine, or move one with t.to(engine)",
      );
    }
  }
}

function run<A>(
  engine: Engine,
  op: OpDef<A>,
  inputs: readonly Tensor[],
  metas: readonly Meta[],
  attrs: A,
  options: DispatchOptions,
): Tensor[] {
  const { donates = false, into = none } = options;
  if (op.kind === "view") {
    const [x] = inputs as [Tensor];
    return op
      .view(x.layout, attrs)
      .map((layout) => makeTensor({ engine, storage: x.storage.retain(), layout, dtype: x.dtype }));
  }
  const kernel = kernelFor(engine, op as AnyOp, inputs);
  if (op.kind === "fused" && kernel === undefined) {
    const decompose = (): Tensor[] => {
      const pieces = inputs.map((t) => t.detach());
      const parts = (): Tensor[] => engine.noGrad(() => [...op.decompose(pieces, attrs)]);
      // What autocast asks of an op with a policy was done to its operands: its parts are not asked again.
      return op.autocast === undefined ? parts() : engine.autocast(undefined, parts);
    };
    return engine.scope(decompose, op.name).map((t, i) => (into[i] === undefined ? t : placed(op.name, into[i], t)));
  }
  const mutated = mutatedBy(op, inputs, attrs);
  for (const i of mutated) inputs[i]!.storage.prepareWrite();
  const given = donates === false ? undefined : donor(engine, op, inputs, metas, attrs, donates);
  const inside = kernel?.writesInside === true ? into.map((rows, i) => rows && rowsAt(op.name, rows, metas[i]!)) : none;
  const outputs = claimOutputs(engine, op, inputs, metas, attrs, given, inside);
  const layouts = metas.map(({ shape }, i) => inside[i]?.layout ?? contiguous(shape));
  const views = outputs.map((storage, i) => bufferView(storage, layouts[i]!));
  try {
    if (op.kind === "elementwise") runElementwise(engine, op, inputs, views[0]!, attrs);
    else runKernel(engine, kernel!, op, inputs, views, attrs);
  } catch (error) {
    for (const s of outputs) s.release();
    throw error;
  }
  for (const i of mutated) inputs[i]!.storage.version++;
  return outputs.map((storage, i) => {
    const t = makeTensor({ engine, storage, layout: layouts[i]!, dtype: metas[i]!.dtype });
    if (into[i] === undefined) return t;
    if (inside[i] === undefined) return placed(op.name, into[i], t);
    storage.version++;
    return t;
  });
}

/** Runs it for the trace's listeners. Shapes and types alone: they may keep events, and must not keep tensors. */
const runTraced: typeof run = (engine, op, inputs, metas, attrs, options) => {
  const [module, metaOf] = [engine.modulePath.join("."), ({ shape, dtype }: Meta): Meta => ({ shape, dtype })];
  const traced = { op: op.name, module, inputs: inputs.map(metaOf), outputs: metas.map(metaOf) };
  return engine.trace.run(traced, () => run(engine, op, inputs, metas, attrs, options));
};

/** The backend's kernel, if it takes these dtypes: of a fused op that it does not take, the decomposition runs. */
function kernelFor(engine: Engine, op: AnyOp, inputs: readonly Tensor[]): AnyKernel | undefined {
  const kernel = findKernel(engine.backend, op as OpDef<never>);
  const refused = inputs.find((t) => isFloat(t.dtype) && kernel?.dtypes?.includes(t.dtype) === false);
  if (refused === undefined) return kernel;
  if (op.kind === "fused") return undefined;
  throw new DTypeError(
    op.name,
    `the ${engine.backend.name} kernel takes ${kernel?.dtypes?.join(", ")}, got ${describe(refused)}`,
    "cast the operands",
  );
}

function runElementwise<A>(
  engine: Engine,
  op: ElementwiseOp<A>,
  inputs: readonly Tensor[],
  output: BufferView<unknown>,
  attrs: A,
): void {
  const views = inputs.map((t) => bufferView(t.storage, broadcastLayout(t.layout, output.shape)));
  engine.backend.elementwise(op, attrs, views, output);
}

/** Runs a structural kernel, with row-major copies of the inputs that it cannot read as they lie. */
function runKernel(
  engine: Engine,
  { run, inputs: wants }: AnyKernel,
  op: AnyOp,
  inputs: readonly Tensor[],
  outputs: readonly BufferView<unknown>[],
  attrs: unknown,
): void {
  const mutated = new Set(mutatedBy(op, inputs, attrs));
  const copies: Storage[] = [];
  try {
    const views = inputs.map((t, i) => {
      if (wants !== "contiguous" || isContiguous(t.layout) || mutated.has(i)) return bufferView(t.storage, t.layout);
      const dense = engine.allocate(t);
      copies.push(dense);
      const view = bufferView(dense, contiguous(t.shape));
      engine.backend.kernels.copy.run([bufferView(t.storage, t.layout)], [view], undefined);
      return view;
    });
    run(views, outputs, attrs);
  } finally {
    for (const c of copies) c.release();
  }
}

/** The inputs that an op writes to. */
const mutatedBy = (op: AnyOp, inputs: readonly Meta[], attrs: unknown): readonly number[] =>
  op.mutates === undefined ? none : op.mutates(inputs, attrs).filter((i) => i !== undefined);

/** Buffers for the outputs: inputs' own where the op works in place, new ones elsewhere. */
function claimOutputs(
  engine: Engine,
  op: AnyOp,
  inputs: readonly Tensor[],
  metas: readonly Meta[],
  attrs: unknown,
  given: number | undefined,
  inside: readonly (Inside | undefined)[],
): Storage[] {
  const written = op.mutates?.(inputs, attrs);
  const claimed: Storage[] = [];
  try {
    metas.forEach((meta, i) => {
      const inPlace = written?.[i] ?? (i === 0 ? given : undefined);
      if (inside[i] !== undefined) claimed.push(inside[i].storage.retain());
      else if (inPlace === undefined) claimed.push(engine.allocate(meta));
      else {
        const { storage, layout } = inputs[inPlace]!;
        if (layout.offset !== 0 || !isContiguous(layout)) {
          throw new LifetimeError(
            op.name,
            `cannot write in place into a view (input ${inPlace})`,
            "update the tensor that owns the buffer",
          );
        }
        claimed.push(storage.retain());
      }
    });
  } catch (error) {
    for (const s of claimed) s.release();
    throw error;
  }
  return claimed;
}

/** The input whose buffer output 0 may take: given up by the caller, held by nobody else, same size and type. */
function donor(
  engine: Engine,
  op: AnyOp,
  inputs: readonly Tensor[],
  [meta]: readonly Meta[],
  attrs: unknown,
  donates: true | number,
): number | undefined {
  const i = op.kind === "elementwise" ? Number(donates === true ? 0 : donates) : op.mayAlias;
  const t = i === undefined ? undefined : inputs[i];
  if (t === undefined || t.storage.references > 1 || t.dtype !== meta!.dtype) return undefined;
  if (!sameShape(t.shape, meta!.shape) || t.layout.offset !== 0 || !isContiguous(t.layout)) return undefined;
  // The graph saves inputs after the op has run: one that is written over would give wrong gradients.
  const isSaved = isRecorded(engine, op, inputs) && savesOf(op, inputs, attrs).inputs?.includes(i!) === true;
  return isSaved ? undefined : i;
}

const bufferView = (storage: Storage, { shape, strides, offset }: Layout): BufferView<unknown> => ({
  data: storage.data,
  dtype: storage.dtype,
  shape,
  strides,
  offset,
});

/** The layout repeated to `shape` with zero strides. */
function broadcastLayout(layout: Layout, shape: Shape): Layout {
  if (sameShape(layout.shape, shape)) return layout;
  const lead = shape.length - layout.shape.length;
  return {
    shape,
    strides: shape.map((_, d) => (d < lead || layout.shape[d - lead] === 1 ? 0 : layout.strides[d - lead]!)),
    offset: layout.offset,
  };
}

function checkFinite(engine: Engine, op: AnyOp, outputs: readonly Tensor[]): void {
  for (const t of outputs) {
    if (!isFloat(t.dtype) || !engine.backend.isSynchronous) continue;
    const bad = t.dataSync().findIndex((v) => !Number.isFinite(v));
    if (bad < 0) continue;
    const where = engine.modulePath.length === 0 ? "" : ` in ${engine.modulePath.join(".")}`;
    throw new NonFiniteError(
      op.name,
      `output ${describe(t)} has ${t.dataSync()[bad]} at element ${bad}${where}`,
      "look at this layer's inputs and parameters; a lower learning rate or clipping often helps",
    );
  }
}
