import { PassContext, relativeDrift, sampleStreams } from "@revnet-zero/reversible";
import {
  defaultEngine,
  defineFunction,
  type Engine,
  full,
  isFloat,
  type Tensor,
  ValueError,
} from "@revnet-zero/tensor";
import { Bijection, type FlowLayer, type FlowOutput, type Retraced } from "./flowLayer.ts";

/**
 * How a sequence gets its activations back in backward:
 * - `rebuild`: each layer's input from its output, by its inverse. Memory does not grow with depth. Float inputs come back up to a
 *   drift that is measured (`drift()`); fixed-point streams come back bit for bit.
 * - `store`: ordinary backpropagation.
 */
export type FlowMode = "rebuild" | "store";

export interface FlowSequenceOptions {
  readonly layers: readonly FlowLayer[];
  /** Default "rebuild". */
  readonly mode?: FlowMode;
  /** Default: that of the layers' parameters, or the default engine. */
  readonly engine?: Engine;
}

/**
 * Flow layers one after another; log-determinants add up. In mode `rebuild` it is ONE node of the graph, which keeps the
 * final value only, whatever the number of layers.
 */
export class FlowSequence extends Bijection {
  readonly layers: readonly FlowLayer[];
  #mode: FlowMode;
  /** Relative error of the last rebuilt float input; NaN before the first. */
  readonly lastDrift: Tensor;

  constructor({ layers, mode = "rebuild", engine = engineOf(layers) }: FlowSequenceOptions) {
    super();
    if (layers.length === 0) throw new ValueError("FlowSequence", "there are no layers", "give at least one");
    this.layers = layers;
    this.#mode = checkMode(mode);
    this.lastDrift = this.buffer(full([], Number.NaN, { engine }), { isPersistent: false });
  }

  get mode(): FlowMode {
    return this.#mode;
  }
  /** Takes effect at the next forward pass; the function is the same. */
  set mode(mode: FlowMode) {
    this.#mode = checkMode(mode);
  }

  override forward(x: Tensor): FlowOutput {
    const context = new PassContext(x.engine, this.layers);
    if (this.#mode === "store")
      return chain(x, this.layers, (layer, value, i) => context.run(i, () => layer.call(value)));
    return this.#rebuild(x, context);
  }

  protected override invert(y: Tensor): FlowOutput {
    const context = new PassContext(y.engine, this.layers);
    const last = this.layers.length - 1;
    return chain(y, [...this.layers].reverse(), (layer, value, i) => context.run(last - i, () => layer.inverse(value)));
  }

  /** Relative error of the last float input rebuilt in backward, over a sample of its elements. Fixed-point ones are not measured. */
  drift(): Promise<number> {
    return this.lastDrift.item();
  }

  #rebuild(input: Tensor, context: PassContext): FlowOutput {
    const { layers, lastDrift } = this;
    const node = defineFunction({
      name: "flow sequence",
      forward({ save }, x) {
        const result = chain(x!, layers, (layer, value, i) => context.run(i, () => layer.call(value)));
        save(result.value, ...(isFloat(x!.dtype) ? sampleStreams([x!]) : []));
        return [result.value, result.logDeterminant];
      },
      backward(backward, gradient, ofLogDeterminant) {
        const { engine } = backward;
        const [final, ...samples] = backward.takeSaved() as [Tensor, ...Tensor[]];
        let value = engine.keep(final);
        let cotangent = gradient === undefined ? undefined : takeOver(gradient);
        const step = (i: number): void => {
          const {
            value: output,
            logDeterminant,
            leaves,
          } = backward.recompute(() => context.run(i, () => layers[i]!.retrace(value)));
          const received = backward.backward([output, logDeterminant], [cotangent, ofLogDeterminant], leaves);
          for (const t of [value, cotangent]) t?.dispose();
          value = engine.keep(whole(leaves.map((leaf) => leaf.detach())));
          const gradients = filled(leaves, received);
          cotangent = gradients && engine.keep(whole(gradients));
        };
        try {
          context.again(() => {
            for (let i = layers.length - 1; i >= 0; i--) engine.scope(() => step(i));
          });
          if (samples.length > 0) lastDrift.assign(relativeDrift(samples, sampleStreams([value])).cast("f32"));
        } finally {
          value.dispose();
          if (cotangent !== undefined) engine.adopt(cotangent);
        }
        return [cotangent];
      },
    });
    const [value, logDeterminant] = node(input) as [Tensor, Tensor];
    return { value, logDeterminant };
  }
}

/** Runs layers one after another, freeing what lies between. */
function chain(
  x: Tensor,
  layers: readonly FlowLayer[],
  run: (layer: FlowLayer, value: Tensor, index: number) => FlowOutput,
): FlowOutput {
  let value = x;
  let logDeterminant: Tensor | undefined;
  layers.forEach((layer, i) => {
    const next = run(layer, value, i);
    if (value !== x) value.dispose();
    value = next.value;
    const before = logDeterminant;
    logDeterminant = before === undefined ? next.logDeterminant : before.add(next.logDeterminant);
    if (before !== undefined) for (const t of [before, next.logDeterminant]) t.dispose();
  });
  return { value, logDeterminant: logDeterminant! };
}

/** Parts along the channels as one tensor. */
const whole = ([first, ...rest]: readonly Tensor[]): Tensor => (rest.length === 0 ? first! : first!.concat(rest, 1));

/** The gradients of all leaves, zeros where none arrived; undefined where none arrived at all. */
function filled(leaves: Retraced["leaves"], gradients: readonly (Tensor | undefined)[]): readonly Tensor[] | undefined {
  if (gradients.every((g) => g === undefined)) return undefined;
  return leaves.map((leaf, i) => gradients[i] ?? leaf.zerosLike());
}

/** The pass's own handle on a gradient; the walk's is given up. */
function takeOver(gradient: Tensor): Tensor {
  const own = gradient.engine.keep(gradient.detach());
  gradient.dispose();
  return own;
}

function engineOf(layers: readonly FlowLayer[]): Engine {
  return (
    layers.flatMap((layer) => [...layer.parameters(), ...layer.namedBuffers().values()])[0]?.engine ?? defaultEngine()
  );
}

function checkMode(mode: FlowMode): FlowMode {
  if (mode === "rebuild" || mode === "store") return mode;
  throw new ValueError("FlowSequence", `unknown mode "${mode}"`, "use rebuild or store");
}
