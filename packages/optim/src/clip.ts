import { ops, type Tensor, ValueError } from "@revnet-zero/tensor";

export interface ClippedGradients {
  /** Euclidean norm of all gradients together, before clipping and without the scale: a scalar f32. */
  readonly norm: Tensor;
  /** min(1, maxNorm / (norm + 1e-6)) / scale, or NaN when the norm is NaN or infinite: a scalar f32 for `optimizer.step`. */
  readonly factor: Tensor;
}

export interface ClipOptions {
  /** What the loss was multiplied with before backward (`GradScaler`): a power of two, so that nothing is rounded. Default 1. */
  readonly scale?: number;
}

/**
 * The factor that shortens the gradients to a common norm of `maxNorm`. Nothing is read back and no gradient is
 * written: `optimizer.step({ gradientFactor: factor })` applies it. A step with a NaN factor destroys the parameters,
 * so a trainer looks at the norm it logs anyway: `if (Number.isFinite(await norm.item())) optimizer.step(...)`.
 * Source: Pascanu, Mikolov & Bengio 2013 (arXiv:1211.5063), algorithm 1.
 */
export function clipByGlobalNorm(
  parameters: Iterable<Tensor>,
  maxNorm: number,
  { scale = 1 }: ClipOptions = {},
): ClippedGradients {
  if (!(maxNorm > 0)) throw new ValueError("clipByGlobalNorm", `maxNorm is ${maxNorm}`, "use a positive number");
  const gradients = [...parameters].flatMap((p) => (p.grad === undefined ? [] : [p.grad]));
  const [first] = gradients;
  if (first === undefined)
    throw new ValueError("clipByGlobalNorm", "no parameter has a gradient", "call loss.backward() first");
  const { engine } = first;
  return engine.scope(() =>
    engine.noGrad(() => {
      const scaled = first.apply(ops.globalNorm, gradients, undefined);
      const norm = scale === 1 ? scaled : scaled.mul(1 / scale);
      const factor = norm.add(1e-6).reciprocal().mul(maxNorm).minimum(1);
      const unscaled = scale === 1 ? factor : factor.mul(1 / scale);
      return { norm, factor: norm.isFinite().where(unscaled, Number.NaN) };
    }),
  );
}
