import { checkSizes, initializers, Linear, Module, type RandomLayerOptions, Sequential } from "@revnet-zero/nn";
import { defaultEngine, foldKey, full, type Tensor } from "@revnet-zero/tensor";

export interface ConditionerOptions extends Omit<RandomLayerOptions, "init"> {
  readonly in: number;
  readonly out: number;
  /** Units, or channels, of the layers between. */
  readonly hidden: number;
}

/**
 * Two hidden layers of GELUs, `[batch, in]` -> `[batch, out]`. The last layer starts at zero, so that a coupling starts as the
 * identity. Source: Kingma & Dhariwal 2018 (arXiv:1807.03039), section 3.3 ("zero initialization").
 */
export function denseConditioner({ in: inputs, out, hidden, key, ...rest }: ConditionerOptions): Sequential {
  const init = initializers.kaimingUniform();
  return new Sequential(
    new Linear({ ...rest, in: inputs, out: hidden, activation: "gelu", init, key: foldKey(key, 0) }),
    new Linear({ ...rest, in: hidden, out: hidden, activation: "gelu", init, key: foldKey(key, 1) }),
    new Linear({ ...rest, in: hidden, out, init: initializers.constant(0), key: foldKey(key, 2) }),
  );
}

/**
 * Convolutions 3x3, 1x1, 3x3 with GELUs between, `[batch, in, h, w]` -> `[batch, out, h, w]`, the last starting at zero.
 * Source: as above.
 */
export class ConvConditioner extends Module {
  readonly weights: readonly Tensor[];
  readonly biases: readonly Tensor[];

  constructor({ in: inputs, out, hidden, key, engine = defaultEngine(), dtype = "f32" }: ConditionerOptions) {
    super();
    checkSizes("ConvConditioner", { in: inputs, out, hidden });
    const shapes = [
      [hidden, inputs, 3, 3],
      [hidden, hidden, 1, 1],
      [out, hidden, 3, 3],
    ];
    const init = (i: number): initializers.Initializer =>
      i === shapes.length - 1 ? initializers.constant(0) : initializers.kaimingUniform();
    this.weights = shapes.map((shape, i) => this.parameter(init(i)(shape, { key: foldKey(key, i), engine, dtype })));
    this.biases = shapes.map(([channels]) => this.parameter(full([channels!], 0, { engine, dtype })));
  }

  override forward(x: Tensor): Tensor {
    return this.weights.reduce((input, weight, i) => {
      const y = input.conv2d(weight, { padding: (weight.shape[2]! - 1) / 2 }).add(this.biases[i]!.reshape([-1, 1, 1]));
      return i < this.weights.length - 1 ? y.gelu() : y;
    }, x);
  }
}
