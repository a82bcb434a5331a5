import { type Compiled, compileGradients } from "@revnet-zero/compile";
import type { ByteBatch } from "@revnet-zero/data";
import { type LanguageModel, ReversibleTransformer } from "@revnet-zero/models";
import { clipByGlobalNorm } from "@revnet-zero/optim";
import { type Engine, foldKey, type Key, ops, type Tensor, tensor } from "@revnet-zero/tensor";
import type { AnyOptimizer } from "./build.ts";

/** The measured quantities of one optimizer step, still on the device. */
export interface StepGradients {
  /** Mean cross-entropy in nats per byte over all micro-batches. */
  readonly loss: Tensor;
  /** Euclidean norm of the whole gradient, before clipping. */
  readonly norm: Tensor;
  /** What clipping multiplies gradients with; undefined without a limit. */
  readonly factor: Tensor | undefined;
}

export const toTensors = (
  { inputs, targets, batchSize, sequenceLength }: ByteBatch,
  engine: Engine,
): readonly [Tensor, Tensor] => {
  const shape = [batchSize, sequenceLength];
  return [tensor(inputs, { shape, engine }), tensor(targets, { shape, engine })];
};

/** Forward and backward of one micro-batch: adds to the gradients and gives its share of the mean loss. */
export type Pass = (tokens: Tensor, targets: Tensor) => Tensor;

/** The pass of a model whose step has so many micro-batches. */
export function passOf(model: LanguageModel, microBatches: number): Pass {
  return (tokens, targets) => {
    const loss = model.loss(tokens, targets).mul(1 / microBatches);
    loss.backward();
    return loss.detach();
  };
}

/** The same, recorded at its second call and run from the recording since: the same bits, sooner. Its owner disposes it. */
export function recordedPassOf(model: LanguageModel, microBatches: number): Compiled<[Tensor, Tensor], Tensor> {
  const sequence = model instanceof ReversibleTransformer ? model.sequence : undefined;
  const guard = (): string => `${model.training} ${sequence?.mode} ${sequence?.plan?.blocks} ${sequence?.check}`;
  return compileGradients(model.parameters(), passOf(model, microBatches), { guard });
}

export interface GradientOptions {
  readonly key: Key;
  readonly step: number;
  readonly clipNorm: number;
  /** Default: the model's, unrecorded. */
  readonly pass?: Pass;
}

/**
 * Forward and backward over the micro-batches of a step; gradients add up in the parameters. Random layers draw from
 * (key, step, micro-batch), so accumulation repeats no mask and a resumed run draws the same ones.
 */
export function computeGradients(
  model: LanguageModel,
  batches: readonly ByteBatch[],
  { key, step, clipNorm, pass = passOf(model, batches.length) }: GradientOptions,
): StepGradients {
  const { engine } = model.embedding.tokens.weight;
  return engine.scope(() => {
    let total: Tensor | undefined;
    batches.forEach((batch, micro) => {
      const part = engine.scope(() =>
        engine.withKey(foldKey(foldKey(key, step), micro), () => pass(...toTensors(batch, engine))),
      );
      total = total === undefined ? part : total.add(part);
    });
    const gradients = model.parameters().flatMap((p) => (p.grad === undefined ? [] : [p.grad]));
    if (clipNorm > 0) return { loss: total!, ...clipByGlobalNorm(model.parameters(), clipNorm) };
    return { loss: total!, norm: total!.apply(ops.globalNorm, gradients, undefined), factor: undefined };
  }, "step");
}

/** Updates the parameters and frees the gradients. */
export function applyGradients(optimizer: AnyOptimizer, learningRate: number, factor: Tensor | undefined): void {
  optimizer.step({ learningRate, ...(factor === undefined ? {} : { gradientFactor: factor }) });
  optimizer.zeroGrad();
}
