import type { Tensor } from "@revnet-zero/tensor";
import { type Compiled, type CompileOptions, compile, sharing, type Tensors } from "./compile.ts";

/**
 * `compile` for a training step's forward and backward pass: `f` ends with `loss.backward()` and returns what is to be looked at;
 * after a call every parameter has its gradient, added to the one it had, as if `f` had been run.
 *
 * ```ts
 * import { compileGradients, Linear, randomKey, tensor } from "revnet-zero";
 *
 * const layer = new Linear({ in: 2, out: 1, key: randomKey(1) });
 * const gradients = compileGradients(layer.parameters(), (x) => {
 *   const loss = layer.call(x).square().sum();
 *   loss.backward();
 *   return loss.detach();
 * });
 * for (let step = 0; step < 3; step++) {
 *   layer.zeroGrad();
 *   gradients(tensor([[1, 2]])).dispose();
 * }
 * [gradients.reason, layer.weight.grad?.shape]; // => [ undefined, [ 1, 2 ] ]
 * ```
 */
export function compileGradients<A extends readonly Tensor[], R extends Tensors>(
  parameters: readonly Tensor[],
  f: (...args: A) => R,
  { guard = () => "", ...options }: CompileOptions = {},
): Compiled<A, R> {
  const withGradient = (): number[] => [...parameters.keys()].filter((i) => parameters[i]!.grad !== undefined);
  // Gradients that are there already are arguments: the pass adds to them where they lie.
  const computed = compile(
    (...given: readonly Tensor[]) => {
      const result = f(...(given.slice(0, given.length - withGradient().length) as unknown as A));
      return { result, gradients: Object.fromEntries(withGradient().map((i) => [i, parameters[i]!.grad!])) };
    },
    { ...options, guard: () => `${guard()} gradients of ${withGradient()}` },
  );
  const call = (...args: A): R => {
    const before = withGradient().map((i) => parameters[i]!.grad!);
    const { result, gradients } = computed(...args, ...before) as { result: R; gradients: Record<number, Tensor> };
    for (const [i, gradient] of Object.entries(gradients)) take(parameters[Number(i)]!, gradient);
    return result;
  };
  return sharing(call, computed);
}

/** The gradient is the parameter's from here on. */
function take(parameter: Tensor, gradient: Tensor): void {
  if (parameter.grad === gradient) return;
  parameter.grad?.dispose();
  parameter.grad = gradient.engine.keep(gradient);
}
