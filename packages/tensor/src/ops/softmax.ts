import { isFloat, statisticsType } from "../dtype.ts";
import { DTypeError, describe, describeAll, ShapeError } from "../errors.ts";
import { type FusedOp, fused, type Meta } from "../op.ts";
import { numel } from "../shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { mustBe } from "./operands.ts";

const floatOnly =
  (name: string) =>
  ([x]: readonly Meta[]): readonly Meta[] => {
    if (!isFloat(x!.dtype) || x!.shape.length === 0)
      throw new DTypeError(
        name,
        `needs a float tensor of rank 1 or more, got ${describe(x!)}`,
        'cast it: x.cast("f32"), and unsqueeze(0) a scalar',
      );
    return [x!];
  };

/** Over the last axis. */
export const softmax: FusedOp = fused({
  name: "softmax",
  arity: 1,
  autocast: "high",
  doc: "e^x / Σ e^x over the last axis, shifted by the maximum",
  meta: floatOnly("softmax"),
  flops: ([x]) => 5 * numel(x!.shape),
  decompose: ([x]) => {
    const shifted = x!.sub(x!.max(-1, { keepDims: true })).exp();
    return [shifted.div(shifted.sum(-1, { keepDims: true }))];
  },
  gradient: {
    saves: () => ({ outputs: [0] }),
    vjp: ({ gradient, output }) => [gradient.apply(softmaxBackward, [output(0), gradient], undefined)],
  },
});

/** y ⊙ (g - Σ g ⊙ y) from y = softmax(x). */
export const softmaxBackward: FusedOp = fused({
  name: "softmaxBackward",
  arity: 2,
  autocast: "high",
  doc: "gradient of softmax from its output",
  meta: (inputs) => {
    const [y] = floatOnly("softmaxBackward")(inputs);
    mustBe("softmaxBackward", inputs, [y!, y!]);
    return [y!];
  },
  flops: ([y]) => 4 * numel(y!.shape),
  decompose: ([y, g]) => [y!.mul(g!.sub(y!.mul(g!).sum(-1, { keepDims: true })))],
  gradient: "decomposition",
});

/** x - log Σ e^x over the last axis. */
export const logSoftmax: FusedOp = fused({
  name: "logSoftmax",
  arity: 1,
  autocast: "high",
  doc: "x - log Σ e^x over the last axis",
  meta: floatOnly("logSoftmax"),
  flops: ([x]) => 5 * numel(x!.shape),
  decompose: ([x]) => {
    const shifted = x!.sub(x!.max(-1, { keepDims: true }));
    return [shifted.sub(shifted.exp().sum(-1, { keepDims: true }).log())];
  },
  gradient: {
    saves: () => ({ outputs: [0] }),
    vjp: ({ gradient, output }) => [
      gradient.sub(
        output(0)
          .exp()
          .mul(gradient.sum(-1, { keepDims: true })),
      ),
    ],
  },
});

/** One value a row of logits `[n, classes]` with targets `[n]`. */
function crossEntropyRow(name: string, x: Meta, t: Meta): Meta {
  if (x.shape.length !== 2 || t.shape.length !== 1 || x.shape[0] !== t.shape[0]) {
    throw new ShapeError(
      name,
      `needs logits [n, classes] and targets [n], got ${describeAll([x, t])}`,
      "reshape both to rows first",
    );
  }
  if (!isFloat(x.dtype) || t.dtype !== "i32")
    throw new DTypeError(
      name,
      `needs float logits and i32 targets, got ${describeAll([x, t])}`,
      'cast first: x.cast("f32"), targets.cast("i32")',
    );
  return { shape: t.shape, dtype: statisticsType(x.dtype) };
}

/**
 * Cross-entropy of logits `[n, classes]` against i32 targets `[n]`, in nats per row `[n]`; a negative target is
 * ignored (loss 0, no gradient). Second output: the log-sum-exp of each row, for backward. Both are float32 where logits are 16-bit
 * floats: so under autocast logits stay as the head gave them.
 */
export const crossEntropy: FusedOp = fused({
  name: "crossEntropy",
  arity: 2,
  doc: "log Σ e^x - x[target] per row; negative targets are ignored",
  meta: ([x, t]) => {
    const row = crossEntropyRow("crossEntropy", x!, t!);
    return [row, row];
  },
  flops: ([x]) => 4 * numel(x!.shape),
  decompose: ([logits, t]) => {
    const x = logits!.cast(statisticsType(logits!.dtype));
    const top = x.max(-1, { keepDims: true });
    const lse = x.sub(top).exp().sum(-1).log().add(top.squeeze(-1));
    const chosen = x.takeAlong(t!.maximum(0).unsqueeze(1), 1).squeeze(1);
    return [t!.less(0).where(0, lse.sub(chosen)), lse];
  },
  gradient: {
    saves: () => ({ inputs: [0, 1], outputs: [1] }),
    vjp: ({ gradients: [g, gLse], input, output }) => {
      const fromLoss = g?.apply(crossEntropyBackward, [input(0), input(1), output(1), g], undefined);
      // d lse / dx is the softmax.
      const fromLse =
        gLse === undefined
          ? undefined
          : input(0).sub(output(1).unsqueeze(1)).exp().mul(gLse.unsqueeze(1)).cast(input(0).dtype);
      return [fromLoss === undefined ? fromLse : fromLse === undefined ? fromLoss : fromLoss.add(fromLse)];
    },
  },
});

/** (softmax(x) - onehot(target)) · g, zero for ignored rows. */
export const crossEntropyBackward: FusedOp = fused({
  name: "crossEntropyBackward",
  arity: 4,
  doc: "gradient of crossEntropy from logits, targets, log-sum-exp and the rows' gradients",
  meta: (inputs) => {
    const [x, t] = inputs as [Meta, Meta];
    const row = crossEntropyRow("crossEntropyBackward", x, t);
    mustBe("crossEntropyBackward", inputs, [x, t, row, row]);
    return [x];
  },
  flops: ([x]) => 4 * numel(x!.shape),
  decompose: ([x, t, lse, g]) => [crossEntropyPull(x!, t!, lse!, g!)],
  gradient: {
    through: ([logits, t, , g]) => {
      const x = logits!.cast(statisticsType(logits!.dtype));
      const top = x.detach().max(-1, { keepDims: true });
      return [crossEntropyPull(logits!, t!, x.sub(top).exp().sum(-1).log().add(top.squeeze(-1)), g!)];
    },
  },
});

/**
 * crossEntropy and its gradient for an incoming gradient of 1, in one pass: what a loss that is not kept for backward needs. Outputs: the
 * gradient by the logits, which may be written over them, and the losses.
 */
export const crossEntropyWithGradient: FusedOp = fused({
  name: "crossEntropyWithGradient",
  arity: 2,
  doc: "softmax(x) - onehot(target), zero for ignored rows, and the losses of crossEntropy",
  mayAlias: 0,
  meta: ([x, t]) => [x!, crossEntropyRow("crossEntropyWithGradient", x!, t!)],
  flops: ([x]) => 8 * numel(x!.shape),
  decompose: ([x, t]) => {
    const [loss, lse] = x!.applyAll(crossEntropy, [x!, t!], undefined) as [Tensor, Tensor];
    return [x!.apply(crossEntropyBackward, [x!, t!, lse, loss.onesLike()], undefined), loss];
  },
  gradient: "none",
});

function crossEntropyPull(x: Tensor, t: Tensor, lse: Tensor, g: Tensor): Tensor {
  const kept = t.less(0).where(0, g).unsqueeze(1);
  const probabilities = x.sub(lse.unsqueeze(1)).exp();
  const classes = x.rangeOf(x.shape[1]!).unsqueeze(0);
  return probabilities
    .sub(classes.equal(t.unsqueeze(1)).cast(lse.dtype))
    .mul(kept)
    .cast(x.dtype);
}
