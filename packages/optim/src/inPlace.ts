import type { Tensor } from "@revnet-zero/tensor";
import type { StepContext, Update } from "./optimizer.ts";

/** Zeros of a parameter's shape and dtype. */
export const zerosOf = (parameter: Tensor): Tensor => parameter.fullOf(parameter.shape, 0);

/**
 * Runs `f` for each parameter with its gradient in the parameter's dtype, clipped. Each in a scope of its own: the
 * temporaries of one parameter are freed before the next.
 */
export function eachUpdate(
  updates: readonly Update[],
  { engine, gradientFactor }: StepContext,
  f: (update: Update) => void,
): void {
  for (const update of updates) {
    engine.scope(() => {
      const { gradient, parameter } = update;
      const clipped = gradientFactor === undefined ? gradient : gradient.mul(gradientFactor);
      f({ ...update, gradient: clipped.cast(parameter.dtype) });
    });
  }
}
