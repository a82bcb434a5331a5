import { type DType, isFloat } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError } from "../errors.ts";
import { type FusedOp, fused, type Meta } from "../op.ts";
import { numel } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { mustBe } from "./operands.ts";

export interface NormAttrs {
  readonly eps: number;
  /** The float type of y, where it is not that of x: what reads it next may want 16 bits. */
  readonly to?: DType;
}

/** The meta of y for rows x. */
export function resultMeta(name: string, x: Meta, { to }: NormAttrs): Meta {
  if (to === undefined) return x;
  if (!isFloat(to)) throw new DTypeError(name, `cannot give ${to}`, 'give floats: to "bf16"');
  return { shape: x.shape, dtype: to };
}

/** The meta that a gradient of y must have: its shape, and any float type. */
export function gradientMeta(name: string, x: Meta, gradient: Meta): Meta {
  if (!isFloat(gradient.dtype)) throw new DTypeError(name, `needs a float gradient, got ${describe(gradient)}`, "");
  return { shape: x.shape, dtype: gradient.dtype };
}

/** Checks x `[..., d]` and per-channel parameters `[d]`; gives the meta of the per-row statistics. */
export function rowMeta(name: string, inputs: readonly Meta[]): Meta {
  const [x, ...parameters] = inputs as [Meta, ...Meta[]];
  if (!isFloat(x.dtype) || inputs.some((p) => p.dtype !== x.dtype)) {
    throw new DTypeError(
      name,
      `needs float tensors of one dtype, got ${describeAll(inputs)}`,
      'cast first: x.cast("f32")',
    );
  }
  const d = x.shape[x.shape.length - 1];
  for (const p of parameters) {
    if (d === undefined || p.shape.length !== 1 || p.shape[0] !== d)
      throw new ShapeError(
        name,
        `parameter ${describe(p)} does not fit the last axis of ${describe(x)}`,
        `a parameter is [${d ?? "size"}]`,
      );
  }
  return { shape: x.shape.slice(0, -1), dtype: x.dtype };
}

/** Source: Ba, Kiros & Hinton 2016 (arXiv:1607.06450). Outputs: y, and per row the mean and 1/σ for backward. */
export const layerNorm: FusedOp<NormAttrs> = fused({
  name: "layerNorm",
  arity: 3,
  autocast: "high",
  doc: "(x - mean) / σ · weight + bias over the last axis",
  meta: (inputs, attrs) => {
    const row = rowMeta("layerNorm", inputs);
    return [resultMeta("layerNorm", inputs[0]!, attrs), row, row];
  },
  flops: ([x]) => 8 * numel(x!.shape),
  decompose: ([x, w, b], { eps, to = x!.dtype }) => {
    const mean = x!.mean(-1, { keepDims: true });
    const centred = x!.sub(mean);
    const inverse = centred.square().mean(-1, { keepDims: true }).add(eps).rsqrt();
    return [centred.mul(inverse).mul(w!).add(b!).cast(to), mean.squeeze(-1), inverse.squeeze(-1)];
  },
  gradient: {
    saves: () => ({ inputs: [0, 1], outputs: [1, 2] }),
    vjp: ({ gradient, input, output }, attrs) =>
      gradient.applyAll(layerNormBackward, [input(0), input(1), output(1), output(2), gradient], attrs),
  },
});

/** Gradients by x, weight and bias. The sums over rows run in row order. */
export const layerNormBackward: FusedOp<NormAttrs> = fused({
  name: "layerNormBackward",
  arity: 5,
  autocast: "high",
  readsAnyFloat: [4],
  doc: "gradients of layerNorm by input, weight and bias",
  meta: (inputs) => {
    const [x, w] = inputs as [Meta, Meta];
    const row = rowMeta("layerNormBackward", [x, w]);
    mustBe("layerNormBackward", inputs, [x, w, row, row, gradientMeta("layerNormBackward", x, inputs[4]!)]);
    return [x, w, w];
  },
  flops: ([x]) => 12 * numel(x!.shape),
  decompose: ([x, w, mean, inverse, g]) => layerNormPull(x!, w!, mean!, inverse!, g!),
  gradient: {
    through: ([x, w, , , g], { eps }) => {
      const mean = x!.mean(-1);
      const variance = x!.sub(mean.unsqueeze(-1)).square().mean(-1);
      return layerNormPull(x!, w!, mean, variance.add(eps).rsqrt(), g!);
    },
  },
});

function layerNormPull(x: Tensor, w: Tensor, mean: Tensor, inverse: Tensor, gradient: Tensor): Tensor[] {
  const g = gradient.cast(x.dtype);
  const r = inverse.unsqueeze(-1);
  const normalised = x.sub(mean.unsqueeze(-1)).mul(r);
  const gw = g.mul(w);
  const dx = gw
    .sub(gw.mean(-1, { keepDims: true }))
    .sub(normalised.mul(gw.mul(normalised).mean(-1, { keepDims: true })))
    .mul(r);
  return [dx, g.mul(normalised).sumTo(w.shape), g.sumTo(w.shape)];
}

/** Source: Zhang & Sennrich 2019 (arXiv:1910.07467), eq. 4. Outputs: y, and per row 1/rms for backward. */
export const rmsNorm: FusedOp<NormAttrs> = fused({
  name: "rmsNorm",
  arity: 2,
  autocast: "high",
  doc: "x / sqrt(mean x² + ε) · weight over the last axis",
  meta: (inputs, attrs) => [resultMeta("rmsNorm", inputs[0]!, attrs), rowMeta("rmsNorm", inputs)],
  flops: ([x]) => 5 * numel(x!.shape),
  decompose: ([x, w], { eps, to = x!.dtype }) => {
    const inverse = x!.square().mean(-1, { keepDims: true }).add(eps).rsqrt();
    return [x!.mul(inverse).mul(w!).cast(to), inverse.squeeze(-1)];
  },
  gradient: {
    saves: () => ({ inputs: [0, 1], outputs: [1] }),
    vjp: ({ gradient, input, output }, attrs) =>
      gradient.applyAll(rmsNormBackward, [input(0), input(1), output(1), gradient], attrs),
  },
});

export const rmsNormBackward: FusedOp<NormAttrs> = fused({
  name: "rmsNormBackward",
  arity: 4,
  autocast: "high",
  readsAnyFloat: [3],
  doc: "gradients of rmsNorm by input and weight",
  meta: (inputs) => {
    const [x, w] = inputs as [Meta, Meta];
    const row = rowMeta("rmsNormBackward", [x, w]);
    mustBe("rmsNormBackward", inputs, [x, w, row, gradientMeta("rmsNormBackward", x, inputs[3]!)]);
    return [x, w];
  },
  flops: ([x]) => 8 * numel(x!.shape),
  decompose: ([x, w, inverse, g]) => rmsNormPull(x!, w!, inverse!, g!),
  gradient: {
    through: ([x, w, , g], { eps }) => rmsNormPull(x!, w!, x!.square().mean(-1).add(eps).rsqrt(), g!),
  },
});

function rmsNormPull(x: Tensor, w: Tensor, inverse: Tensor, gradient: Tensor): Tensor[] {
  const g = gradient.cast(x.dtype);
  const r = inverse.unsqueeze(-1);
  const normalised = x.mul(r);
  const gw = g.mul(w);
  const dx = gw.sub(normalised.mul(gw.mul(normalised).mean(-1, { keepDims: true }))).mul(r);
  return [dx, g.mul(normalised).sumTo(w.shape)];
}
