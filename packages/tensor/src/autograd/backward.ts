import { AutogradError, describe } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Walk } from "./walk.ts";

export interface BackwardOptions {
  /** Cotangent of the output; default 1, and then the output must be a scalar. */
  readonly gradient?: Tensor;
  /** Keep what the graph saved, for a second backward pass. */
  readonly retainGraph?: boolean;
  /** Record the backward pass, so that `.grad` can be differentiated. Implies `retainGraph`. */
  readonly createGraph?: boolean;
}

/** Adds to the `.grad` of every leaf that `output` depends on. Frees saved tensors as it goes. */
export function backward(output: Tensor, options: BackwardOptions = {}): void {
  const { engine } = output;
  if (output.edge === undefined) {
    throw new AutogradError(
      "backward",
      `${describe(output)} does not depend on any tensor that requires a gradient`,
      "call requireGrad() on the inputs, or check that the computation is not inside noGrad",
    );
  }
  if (options.gradient === undefined && output.shape.length !== 0) {
    throw new AutogradError(
      "backward",
      `${describe(output)} is not a scalar`,
      "reduce it with sum() or mean(), or pass { gradient }",
    );
  }
  const createGraph = options.createGraph ?? false;
  engine.scope(() => {
    const walk = new Walk({ createGraph, freeSaved: !(createGraph || options.retainGraph === true) });
    walk.run([output], [options.gradient ?? output.onesLike()], () => undefined);
  }, "backward");
}
