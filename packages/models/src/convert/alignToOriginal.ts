import { AdamW, clipByGlobalNorm, schedules } from "@revnet-zero/optim";
import { foldKey, type Key, type Tensor, ValueError } from "@revnet-zero/tensor";
import type { LogitModel } from "./measureConversion.ts";

export interface AlignOptions {
  /** Inputs of a step: tokens or images. Called in the step's scope. */
  readonly inputsAt: (step: number) => Tensor;
  readonly steps: number;
  /** Of the first step; falls to zero along a cosine. Default 1e-3. */
  readonly learningRate?: number;
  /** Key of the steps, for models with dropout. */
  readonly key?: Key;
}

/**
 * Fine-tunes a converted model until its logits are the original's: AdamW on the mean Kullback-Leibler divergence of the two
 * distributions, in nats a row. The original is in eval mode and left alone. Gives the loss of every step.
 * Source: Hinton, Vinyals & Dean 2015 (arXiv:1503.02531), section 2, at temperature 1.
 */
export async function alignToOriginal(
  converted: LogitModel,
  original: LogitModel,
  { inputsAt, steps, learningRate = 1e-3, key }: AlignOptions,
): Promise<number[]> {
  if (!Number.isInteger(steps) || steps < 1)
    throw new ValueError("alignToOriginal", `steps is ${steps}`, "use an integer of at least 1");
  const { engine } = converted;
  const parameters = converted.parameters();
  const optimizer = new AdamW(parameters, { learningRate, weightDecay: 0 });
  const rate = schedules.cosine({ from: learningRate, to: 0, steps });
  const losses: number[] = [];
  try {
    for (let step = 0; step < steps; step++) {
      const scope = engine.openScope("alignToOriginal");
      try {
        const inputs = inputsAt(step);
        const wanted = engine.noGrad(() => original.inEval(() => original.call(inputs)).logSoftmax());
        const run = (): Tensor => {
          const found = converted.call(inputs).logSoftmax();
          const loss = wanted.exp().mul(wanted.sub(found)).sum(-1).mean();
          loss.backward();
          return loss;
        };
        const loss = key === undefined ? run() : engine.withKey(foldKey(key, step), run);
        const { factor } = clipByGlobalNorm(parameters, 1);
        optimizer.step({ learningRate: rate(step), gradientFactor: factor });
        optimizer.zeroGrad();
        losses.push(await loss.item());
      } finally {
        scope.close();
      }
    }
  } finally {
    optimizer.dispose();
  }
  return losses;
}
