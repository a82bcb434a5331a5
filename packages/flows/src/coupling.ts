import { type Branch, runBranch } from "@revnet-zero/reversible";
import { type DType, describe, gradientDType, ShapeError, type Tensor, ValueError } from "@revnet-zero/tensor";
import { checkChannels, checkFloats } from "./errors.ts";
import { FlowLayer, type FlowOutput, keepsVolume, type Retraced, sumOfSample } from "./flowLayer.ts";

export interface CouplingOptions {
  /** Channels of x; the first floor(c / 2) are moved, the others are kept and decide how. */
  readonly channels: number;
  /** From the kept channels `[batch, ceil(c / 2), ...]` to `[batch, parameters of the moved ones, ...]`. */
  readonly network: Branch;
}

/**
 * One part of the channels is moved by an invertible elementwise map, whose parameters a network computes from the other part, which
 * stays: the inverse needs the same network once, not its inverse. Backward rebuilds and differentiates with one run of the network.
 * Source: Dinh et al. 2014 (arXiv:1410.8516), section 3.2.
 */
export abstract class Coupling extends FlowLayer {
  readonly channels: number;
  readonly network: Branch;

  constructor({ channels, network }: CouplingOptions) {
    super();
    if (!Number.isInteger(channels) || channels < 2)
      throw new ValueError("coupling", `channels is ${channels}`, "use at least 2: one to move, one to decide how");
    this.channels = channels;
    this.network = network;
  }

  /** Parameter tensors a moved channel needs. */
  protected abstract readonly parametersPerChannel: number;
  /** A kept part as the network reads it. */
  protected abstract read(kept: Tensor): Tensor;
  /** From the network's results, one of the moved part's shape a parameter. */
  protected abstract parametersOf(results: readonly Tensor[]): readonly Tensor[];
  protected abstract move(part: Tensor, parameters: readonly Tensor[]): FlowOutput;
  protected abstract moveBack(part: Tensor, parameters: readonly Tensor[]): FlowOutput;

  override forward(x: Tensor): FlowOutput {
    const [part, kept] = this.#split(x);
    const { value, logDeterminant } = this.move(part, this.#parameters(kept, part));
    return { value: value.concat([kept], 1), logDeterminant };
  }

  protected override invert(y: Tensor): FlowOutput {
    const [part, kept] = this.#split(y);
    const { value, logDeterminant } = this.moveBack(part, this.#parameters(kept, part));
    return { value: value.concat([kept], 1), logDeterminant };
  }

  override retrace(y: Tensor): Retraced {
    const { engine } = y;
    return this.within(engine, () => {
      const [moved, stayed] = engine.noGrad(() => this.#split(y));
      const kept = stayed.detach().requireGrad();
      const parameters = this.#parameters(kept, moved);
      const part = engine.noGrad(() => this.moveBack(moved, parameters).value).requireGrad();
      const { value, logDeterminant } = this.move(part, parameters);
      return { value: value.concat([kept], 1), logDeterminant, leaves: [part, kept] };
    });
  }

  #split(x: Tensor): [Tensor, Tensor] {
    checkChannels(this.constructor.name, x, this.channels);
    const moved = Math.floor(this.channels / 2);
    return x.split([moved, this.channels - moved], 1) as [Tensor, Tensor];
  }

  #parameters(kept: Tensor, part: Tensor): readonly Tensor[] {
    const results = runBranch(this.network, this.read(kept));
    const count = this.parametersPerChannel;
    const wanted = [part.shape[0]!, part.shape[1]! * count, ...part.shape.slice(2)];
    if (results.rank !== wanted.length || wanted.some((s, d) => s !== results.shape[d])) {
      throw new ShapeError(
        this.constructor.name,
        `the network returned ${describe(results)} for ${describe(kept)}`,
        `it must return [${wanted.join(", ")}]: ${count} for every moved channel`,
      );
    }
    const parameters = results.cast(gradientDType(part.dtype)); // autocast may have made them coarser
    return this.parametersOf(count === 1 ? [parameters] : parameters.split(count, 1));
  }
}

export interface AffineCouplingOptions extends CouplingOptions {
  /** Bound c of the log-scale: scales stay in [e^-c, e^c]. Default 2. */
  readonly scaleBound?: number;
}

/**
 * y = x · exp(c·tanh(s)) + t on the moved channels, (s, t) from the network: twice as many results as moved channels, first all s, then all t.
 * Source: Dinh et al. 2016 (arXiv:1605.08803), eq. 7-8; the tanh as in its section 4.1, where its factor is
 * learned. We differ: c is fixed, so that inverse and drift are bounded.
 */
export class AffineCoupling extends Coupling {
  readonly scaleBound: number;
  protected override readonly parametersPerChannel = 2;

  constructor({ scaleBound = 2, ...options }: AffineCouplingOptions) {
    super(options);
    if (!(scaleBound > 0 && scaleBound < Number.POSITIVE_INFINITY))
      throw new ValueError("AffineCoupling", `scaleBound is ${scaleBound}`, "use a positive number");
    this.scaleBound = scaleBound;
  }

  protected override read(kept: Tensor): Tensor {
    checkFloats("AffineCoupling", kept);
    return kept;
  }
  protected override parametersOf([s, shift]: readonly Tensor[]): readonly Tensor[] {
    return [s!.tanh().mul(this.scaleBound), shift!];
  }
  protected override move(part: Tensor, [logScale, shift]: readonly Tensor[]): FlowOutput {
    return { value: part.mul(logScale!.exp()).add(shift!), logDeterminant: sumOfSample(logScale!) };
  }
  protected override moveBack(part: Tensor, [logScale, shift]: readonly Tensor[]): FlowOutput {
    const inverse = logScale!.neg();
    return { value: part.sub(shift!).mul(inverse.exp()), logDeterminant: sumOfSample(inverse) };
  }
}

export interface AdditiveCouplingOptions extends CouplingOptions {
  /** Bits after the binary point of fixed-point streams. Default 20. */
  readonly fractionBits?: number;
}

/**
 * y = x + t on the moved channels, t from the network: keeps volumes. On fixed-point streams (i32) the sum wraps modulo 2^32, and the
 * inverse is exact bit for bit whatever the network computes.
 * Source: Dinh et al. 2014 (arXiv:1410.8516), eq. 8; on integers, Hoogeboom et al. 2019 (arXiv:1905.07376), section 3.
 */
export class AdditiveCoupling extends Coupling {
  readonly fractionBits: number;
  protected override readonly parametersPerChannel = 1;

  constructor({ fractionBits = 20, ...options }: AdditiveCouplingOptions) {
    super(options);
    this.fractionBits = fractionBits;
  }

  protected override read(kept: Tensor): Tensor {
    return kept.dtype === "i32" ? kept.dequantise(this.fractionBits) : kept;
  }
  protected override parametersOf(results: readonly Tensor[]): readonly Tensor[] {
    return results;
  }
  protected override move(part: Tensor, [shift]: readonly Tensor[]): FlowOutput {
    return { value: part.add(this.#as(part.dtype, shift!)), logDeterminant: keepsVolume(part) };
  }
  protected override moveBack(part: Tensor, [shift]: readonly Tensor[]): FlowOutput {
    return { value: part.sub(this.#as(part.dtype, shift!)), logDeterminant: keepsVolume(part) };
  }

  #as(dtype: DType, shift: Tensor): Tensor {
    return dtype === "i32" ? shift.quantise(this.fractionBits) : shift;
  }
}
