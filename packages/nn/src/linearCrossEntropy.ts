import {
  type DType,
  defineFunction,
  describeAll,
  dispatch,
  type ElementwiseOp,
  elementwise,
  expr,
  lowered,
  ops,
  ShapeError,
  statisticsType,
  type Tensor,
  uninitialised,
  ValueError,
} from "@revnet-zero/tensor";

/** Logits that exist at a time, where the backend does not say: 64 MiB of f32. */
const MOST_LOGITS = 2 ** 24;
/** Rows of a chunk are a multiple of this, so that products have whole tiles. */
const TILE = 128;

export interface LinearCrossEntropyOptions {
  /** Logits that may exist at a time; one row at least. Default: what the backend says of temporaries, or 2^24. */
  readonly mostLogits?: number;
}

/**
 * Mean cross-entropy in nats of the logits x · Wᵀ: rows x `[rows, dim]`, weight `[classes, dim]`, i32 targets `[rows]`, of which negative
 * ones do not count -> a scalar, f32 of 16-bit floats. Where there are too many logits for one tensor, a chunk of rows at a time is multiplied, judged and
 * turned into its part of the gradients at once, which then wait for backward: no logits are kept, and none are made twice.
 * Chunks follow from the shapes alone: same bits every time, but not those of the whole, since W's gradient is summed chunk by chunk.
 * Not twice differentiable where it is done in chunks. Source: Hsu et al. 2024 (arXiv:2410.10989), section 3.2.
 */
export function linearCrossEntropy(
  x: Tensor,
  weight: Tensor,
  targets: Tensor,
  { mostLogits = x.engine.backend.largestTemporary ?? MOST_LOGITS }: LinearCrossEntropyOptions = {},
): Tensor {
  if (!(mostLogits > 0)) {
    throw new ValueError("linearCrossEntropy", `mostLogits is ${mostLogits}`, "use a positive number of logits");
  }
  if (x.rank !== 2 || weight.rank !== 2 || targets.rank !== 1 || x.shape[0] !== targets.shape[0]) {
    throw new ShapeError(
      "linearCrossEntropy",
      `needs rows [rows, dim], a weight [classes, dim] and targets [rows], got ${describeAll([x, weight, targets])}`,
      "reshape features and targets to rows first",
    );
  }
  const sizes = chunksOf(x.shape[0]!, Math.max(1, Math.floor(mostLogits / Math.max(1, weight.shape[0]!))));
  return x.engine.scope(() => {
    const count = targets.greaterEqual(0).cast(statisticsType(weight.dtype)).sum().maximum(1);
    if (sizes.length === 1) return x.linear(weight).crossEntropy(targets).sum().div(count);
    return inChunks(x, weight, targets, sizes, count);
  });
}

/** Rows of every chunk: equal ones, of whole tiles where that is possible. */
function chunksOf(rows: number, most: number): number[] {
  if (rows <= most) return [rows];
  const equal = Math.ceil(rows / Math.ceil(rows / most));
  const size = Math.min(most, TILE * Math.ceil(equal / TILE));
  return Array.from({ length: Math.ceil(rows / size) }, (_, i) => Math.min(size, rows - i * size));
}

const donating = { donates: true };

function inChunks(x: Tensor, weight: Tensor, targets: Tensor, sizes: readonly number[], count: Tensor): Tensor {
  const { engine } = x;
  const wide = statisticsType(weight.dtype);
  const isTraining = engine.recordsGradients && (x.requiresGrad || weight.requiresGrad);
  const sum = defineFunction({
    name: "linearCrossEntropy",
    forward: (context, rows, w) => {
      const low = engine.ambient.autocast;
      const [given, factor] = low === undefined ? [rows!, w!] : [rows!.cast(low), lowered(w!, low)];
      const labels = targets.split(sizes, 0);
      // Every chunk's rows go where they belong.
      const losses = uninitialised(targets.shape, { dtype: statisticsType(given.dtype), engine });
      const byRows = isTraining ? uninitialised(x.shape, { dtype: given.dtype, engine }) : undefined;
      let byWeight: Tensor | undefined;
      let first = 0;
      for (const [i, chunk] of given.split(sizes, 0).entries()) {
        const place = { tensor: losses, first };
        byWeight = engine.scope((): Tensor | undefined => {
          const operands = [chunk.linear(factor), labels[i]!];
          if (byRows === undefined) {
            dispatch(engine, ops.crossEntropy, operands, undefined, { into: [place] });
            return undefined;
          }
          const intoLosses = { ...donating, into: [undefined, place] };
          const [change] = dispatch(engine, ops.crossEntropyWithGradient, operands, undefined, intoLosses);
          dispatch(engine, ops.matmul, [change!, factor], undefined, { into: [{ tensor: byRows, first }] });
          if (byWeight === undefined) return weightGradient(change!, chunk, wide);
          byWeight.apply(ops.matmulAdd, [byWeight, change!.transpose(), chunk], undefined);
          return byWeight;
        });
        first += sizes[i]!;
      }
      if (byRows !== undefined) context.save(byRows, byWeight!);
      return losses.sum();
    },
    backward: (context, g) => {
      const [byRows, byWeight] = context.takeSaved() as [Tensor, Tensor];
      // Nothing else holds what was saved: it is written over, and a parameter's gradient is its buffer.
      const scaled = (t: Tensor, { dtype }: Tensor): Tensor => {
        const [product] = dispatch(engine, scaledBy, [t, g!], { dtype }, donating);
        t.dispose();
        return product!;
      };
      return [scaled(byRows, x), scaled(byWeight, weight)];
    },
  });
  return sum(x, weight)[0]!.div(count);
}

/** x · s in the type of s, rounded once, to `dtype`. */
const scaledBy: ElementwiseOp<{ readonly dtype: DType }> = elementwise({
  name: "scaledBy",
  arity: 2,
  doc: "x · s of a float x and a scalar s, in another float type",
  body: ([x, s]) => expr.mul(x!, s!),
  meta: ([x], { dtype }) => [{ shape: x!.shape, dtype }],
  gradient: "none",
});

const weightGradient = (change: Tensor, rows: Tensor, to: DType): Tensor =>
  change.apply(ops.linearParametersBackward, [change, rows], { hasBias: false, to });
