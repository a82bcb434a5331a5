import { AutogradError, describe } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { unscope } from "./accumulate.ts";
import { Walk } from "./walk.ts";

/** Handles to differentiate by: new leaves, or recorded aliases when the enclosing computation is differentiated too. */
function boundary(inputs: readonly Tensor[]): Tensor[] {
  return inputs.map((x) => {
    const isTracked = x.edge !== undefined && x.engine.recordsGradients;
    return isTracked ? x.alias() : x.detach().requireGrad();
  });
}

/**
 * Pulls `cotangents` back through a recorded run of `f`: the gradients of `inputs` where needed. The engine under
 * second derivatives of fused ops and of every transform below.
 */
export function pullThrough(
  f: (inputs: readonly Tensor[]) => readonly Tensor[],
  inputs: readonly Tensor[],
  cotangents: readonly (Tensor | undefined)[],
  needs: readonly boolean[],
  createGraph: boolean,
): (Tensor | undefined)[] {
  const engine = inputs[0]!.engine;
  const [xs, outputs] = engine.withGradients(true, () => {
    const own = createGraph ? boundary(inputs) : inputs.map((x) => x.detach().requireGrad());
    return [own, f(own)] as const;
  });
  return collect(outputs, cotangents, xs, needs, createGraph);
}

function collect(
  outputs: readonly Tensor[],
  cotangents: readonly (Tensor | undefined)[],
  xs: readonly Tensor[],
  needs: readonly boolean[],
  createGraph: boolean,
): (Tensor | undefined)[] {
  const wanted = new Set(xs.flatMap((x, i) => (needs[i] ? [x.edge!.node] : [])));
  const walk = new Walk({ createGraph, freeSaved: !createGraph, wanted });
  return walk.run(outputs, cotangents, () =>
    xs.map((x) => {
      const g = walk.take(x.edge!.node, x.edge!.output);
      if (g !== undefined) x.engine.adopt(g);
      return g;
    }),
  );
}

export interface TransformOptions {
  /** Record the backward pass. Default: only inside another transform, or when an input is itself tracked. */
  readonly createGraph?: boolean;
}

function wantsGraph(inputs: readonly Tensor[], options: TransformOptions): boolean {
  return options.createGraph ?? inputs.some((x) => x.edge !== undefined && x.engine.recordsGradients);
}

/**
 * Vector-Jacobian product: `f(...inputs)` and the map from output cotangents to input gradients.
 * The pullback may be called once; inputs that do not influence the output give zeros.
 */
export function vjp(
  f: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: TransformOptions = {},
): { readonly value: Tensor; readonly pullback: (cotangent: Tensor) => Tensor[] } {
  const engine = engineOf("vjp", inputs);
  const createGraph = wantsGraph(inputs, options);
  const [xs, value] = engine.scope(() =>
    engine.withGradients(true, () => {
      const own = createGraph ? boundary(inputs) : inputs.map((x) => x.detach().requireGrad());
      const out = f(...own);
      return [own, own.includes(out) ? out.alias() : out] as const;
    }),
  );
  const needs = xs.map(() => true);
  return {
    value,
    pullback: (cotangent) => {
      const gradients = engine.scope(() => collect([value], [cotangent], xs, needs, createGraph));
      for (const x of xs) x.dispose();
      return gradients.map((g, i) => g ?? inputs[i]!.zerosLike());
    },
  };
}

/** `f(...inputs)`, a scalar, with its gradient by every input. */
export function valueAndGrad(
  f: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: TransformOptions = {},
): { readonly value: Tensor; readonly gradients: Tensor[] } {
  const engine = engineOf("valueAndGrad", inputs);
  return engine.scope(() => {
    const { value, pullback } = vjp(f, inputs, options);
    if (value.shape.length !== 0) {
      throw new AutogradError(
        "valueAndGrad",
        `the function returned ${describe(value)}, not a scalar`,
        "reduce it with sum() or mean(), or use vjp with a cotangent",
      );
    }
    const gradients = pullback(value.onesLike());
    const tracked = wantsGraph(inputs, options);
    return { value: tracked ? value : value.detach(), gradients };
  });
}

/** The gradients of a scalar function by every input. */
export function grad(
  f: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: TransformOptions = {},
): Tensor[] {
  const engine = engineOf("grad", inputs);
  return engine.scope(() => valueAndGrad(f, inputs, options).gradients);
}

/**
 * Jacobian-vector product: the value and its directional derivative along `tangents`.
 * By two reverse passes (the pullback is linear in its cotangent; its own pullback is the Jacobian): every op that has
 * a second derivative has this, without a second table of rules.
 */
export function jvp(
  f: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  tangents: readonly Tensor[],
): { readonly value: Tensor; readonly tangent: Tensor } {
  const engine = engineOf("jvp", inputs);
  if (tangents.length !== inputs.length) {
    throw new AutogradError("jvp", `${inputs.length} inputs but ${tangents.length} tangents`);
  }
  return engine.scope(() => {
    const { value, pullback } = vjp(f, inputs, { createGraph: true });
    const cotangent = value.zerosLike().requireGrad();
    const gradients = engine.withGradients(true, () => pullback(cotangent));
    const walk = new Walk({ createGraph: false, freeSaved: true, wanted: new Set([cotangent.edge!.node]) });
    const found = walk.run(gradients, tangents, () => walk.take(cotangent.edge!.node));
    const tangent = found ?? unscope(value.zerosLike());
    engine.adopt(tangent);
    return { value: value.detach(), tangent };
  });
}

function engineOf(op: string, inputs: readonly Tensor[]): Tensor["engine"] {
  if (inputs.length === 0) throw new AutogradError(op, "no inputs to differentiate by");
  return inputs[0]!.engine;
}
