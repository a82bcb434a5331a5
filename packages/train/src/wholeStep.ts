import { type Compiled, compile } from "@revnet-zero/compile";
import type { LanguageModel } from "@revnet-zero/models";
import type { Tensor } from "@revnet-zero/tensor";
import type { AnyOptimizer } from "./build.ts";
import { applyGradients, type Batch, gradientsOf, guardOf, passOf, type RecordedPassOptions } from "./step.ts";

export interface WholeStepOptions extends RecordedPassOptions {
  /** Longest allowed norm of the whole gradient; 0 is no limit. */
  readonly clipNorm: number;
  /** Of the step to come; asked at every call. */
  readonly learningRate: () => number;
}

/** What a step measured, still on the device. */
export type StepMeasures = { readonly loss: Tensor; readonly norm: Tensor };

/**
 * A step with all that belongs to it, recorded at its second call: forward and backward over the micro-batches, clipping, the optimizer's
 * update. As a graph of the device it is one launch, and gradients exist only in the memory that it works in. The same bits as
 * `computeGradients` and `applyGradients`. It takes the micro-batches' tokens and targets one after the other, draws from the ambient
 * key, and needs parameters without gradients.
 *
 * Where loss or norm are not finite it changes neither parameters nor the optimizer's state: who reads them calls `optimizer.takeBack()`.
 * Its owner disposes it.
 */
export function recordedStepOf(
  model: LanguageModel,
  optimizer: AnyOptimizer,
  { clipNorm, learningRate, graph = false, ...options }: WholeStepOptions,
): Compiled<Tensor[], StepMeasures> {
  const { scale = () => 1 } = options;
  return compile(
    (...given: Tensor[]): StepMeasures => {
      const batches = Array.from(
        { length: given.length / 2 },
        (_, i) => (): Batch => [given[2 * i]!, given[2 * i + 1]!],
      );
      const { loss, norm, factor } = gradientsOf(model, batches, {
        clipNorm,
        scale: scale(),
        pass: passOf(model, batches.length, options),
      });
      const { engine } = loss;
      engine.scope(() => {
        const areNumbers = engine.noGrad(() => {
          const ofLoss = loss.isFinite().where(factor ?? loss.onesLike(), Number.NaN);
          return norm.isFinite().where(ofLoss, Number.NaN);
        });
        applyGradients(optimizer, learningRate, areNumbers);
      });
      return { loss, norm };
    },
    { guard: guardOf(model, scale), graph },
  );
}
