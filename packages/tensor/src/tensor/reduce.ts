import { isFloat } from "../dtype.ts";
import type { FusedOp, PrimitiveOp } from "../op.ts";
import { argmax, argmin, cumsum, max, min, prod, type ReduceAttrs, sum } from "../ops/reduce.ts";
import { logSoftmax, softmax } from "../ops/softmax.ts";
import { normalizeAxes, normalizeAxis, type Shape, sameShape } from "../shape.ts";
import { ElementwiseTensor } from "./elementwise.ts";
import type { Tensor } from "./tensor.ts";

export interface ReduceOptions {
  /** Keep reduced axes as size 1. */
  readonly keepDims?: boolean;
}

type Axes = number | readonly number[];

/** Reductions over axes (all when none are named) and their relatives. */
export abstract class ReduceTensor<S extends Shape = Shape> extends ElementwiseTensor<S> {
  #reduce(
    op: PrimitiveOp<ReduceAttrs> | FusedOp<ReduceAttrs>,
    axes: Axes | undefined,
    { keepDims = false }: ReduceOptions,
  ): Tensor {
    return this.apply(op, [this.self], { axes: normalizeAxes(op.name, axes, this.rank), keepDims });
  }

  sum(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return this.#reduce(sum, axes, options);
  }
  /** Integers multiply modulo 2^32, as i32; over no elements it is 1. */
  prod(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return this.#reduce(prod, axes, options);
  }
  /** Integers and truth values give f32. */
  mean(axes?: Axes, options: ReduceOptions = {}): Tensor {
    const count = normalizeAxes("mean", axes, this.rank).reduce((n, a) => n * this.shape[a]!, 1);
    return this.engine.scope(() => {
      const x = isFloat(this.dtype) ? this : this.cast("f32");
      return x.sum(axes, options).mul(1 / count);
    }, "mean");
  }
  /** Mean squared distance from the mean; `correction` 1 gives the unbiased estimate. */
  variance(axes?: Axes, options: ReduceOptions & { readonly correction?: 0 | 1 } = {}): Tensor {
    const count = normalizeAxes("variance", axes, this.rank).reduce((n, a) => n * this.shape[a]!, 1);
    return this.engine.scope(() => {
      const centred = this.sub(this.mean(axes, { keepDims: true }));
      return centred
        .square()
        .sum(axes, options)
        .mul(1 / (count - (options.correction ?? 0)));
    }, "variance");
  }
  max(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return this.#reduce(max, axes, options);
  }
  min(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return this.#reduce(min, axes, options);
  }
  /** True where any element over the axes is (bool). */
  any(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return this.engine.scope(() => this.cast("bool").cast("i32").max(axes, options).cast("bool"), "any");
  }
  all(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return this.engine.scope(() => this.cast("bool").cast("i32").min(axes, options).cast("bool"), "all");
  }
  /** log Σ e^x without overflow; -inf where every element is. */
  logSumExp(axes?: Axes, options: ReduceOptions = {}): Tensor {
    return this.engine.scope(() => {
      const top = this.detach().max(axes, { keepDims: true });
      const shift = top.isFinite().where(top, 0);
      const total = this.sub(shift).exp().sum(axes, { keepDims: true }).log().add(shift);
      if (options.keepDims) return total;
      const gone = normalizeAxes("logSumExp", axes, this.rank);
      return total.reshape(this.shape.filter((_, d) => !gone.includes(d)));
    }, "logSumExp");
  }
  /** Index of the first largest element along an axis, i32. */
  argmax(axis = -1): Tensor {
    return this.apply(argmax, [this.self], { axis: normalizeAxis("argmax", axis, this.rank) });
  }
  argmin(axis = -1): Tensor {
    return this.apply(argmin, [this.self], { axis: normalizeAxis("argmin", axis, this.rank) });
  }
  cumsum(axis = -1): Tensor {
    return this.apply(cumsum, [this.self], { axis: normalizeAxis("cumsum", axis, this.rank) });
  }

  /** Sums broadcast axes away until the shape is `shape`: the transpose of broadcasting. */
  sumTo(shape: Shape): Tensor {
    if (sameShape(this.shape, shape)) return this.self;
    const lead = this.rank - shape.length;
    const axes = this.shape.flatMap((s, d) => (d < lead || (shape[d - lead] === 1 && s !== 1) ? [d] : []));
    return this.engine.scope(() => this.sum(axes).reshape(shape), "sumTo");
  }

  /** Over one axis (the last by default). */
  softmax(axis = -1): Tensor<S> {
    return this.#overLast("softmax", axis, (x) => x.apply(softmax, [x], undefined)) as Tensor<S>;
  }
  logSoftmax(axis = -1): Tensor<S> {
    return this.#overLast("logSoftmax", axis, (x) => x.apply(logSoftmax, [x], undefined)) as Tensor<S>;
  }
  #overLast(op: string, axis: number, f: (x: Tensor) => Tensor): Tensor {
    const a = normalizeAxis(op, axis, this.rank);
    if (a === this.rank - 1) return f(this.self);
    return this.engine.scope(() => f(this.self.swapAxes(a, -1)).swapAxes(a, -1), op);
  }
}
