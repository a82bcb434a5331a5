import { checkSizes, type RandomLayerOptions } from "@revnet-zero/nn";
import { defaultEngine, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { checkChannels, checkFloats } from "./errors.ts";
import { Bijection, type FlowOutput, keepsVolume, mixChannels } from "./flowLayer.ts";
import { maskOf } from "./triangular.ts";

export interface HouseholderOptions extends Omit<RandomLayerOptions, "init"> {
  readonly channels: number;
  /** Reflections one after another; `channels` of them reach every orthogonal matrix. Default: channels. */
  readonly reflections?: number;
}

/**
 * A learned orthogonal mixing of channels, `[batch, c, ...]`: y = H_K ... H_1 x with H_k = I - 2 v vᵀ / vᵀv. Its inverse is its
 * transpose, its |determinant| 1.
 * Source: Tomczak & Welling 2016 (arXiv:1611.09630), section 3.
 */
export class Householder extends Bijection {
  /** The directions v_k, `[reflections, c]`. */
  readonly directions: Tensor;
  readonly identity: Tensor;

  constructor(options: HouseholderOptions) {
    super();
    const { channels, reflections = channels, key, engine = defaultEngine(), dtype = "f32" } = options;
    checkSizes("Householder", { channels, reflections });
    this.directions = this.parameter(randomNormal([reflections, channels], { key, engine, dtype }));
    const identity = maskOf(channels, (row, column) => row === column, { engine, dtype });
    this.identity = this.buffer(identity, { isPersistent: false });
  }

  /** The orthogonal matrix `[c, c]`. */
  matrix(): Tensor {
    const { directions, identity } = this;
    return directions.engine.scope(() =>
      directions.split(directions.shape[0]!, 0).reduce((product, v) => {
        // v [1, c]: product - (2 / vᵀv) vᵀ (v product)
        const along = v.matmul(product).mul(v.square().sum().reciprocal().mul(2));
        return product.sub(v.transpose().matmul(along));
      }, identity),
    );
  }

  override forward(x: Tensor): FlowOutput {
    this.#check(x);
    return { value: mixChannels(() => this.matrix(), x), logDeterminant: keepsVolume(x) };
  }
  protected override invert(y: Tensor): FlowOutput {
    this.#check(y);
    return { value: mixChannels(() => this.matrix().transpose(), y), logDeterminant: keepsVolume(y) };
  }

  #check(x: Tensor): void {
    checkFloats("Householder", x);
    checkChannels("Householder", x, this.directions.shape[1]!);
  }
}
