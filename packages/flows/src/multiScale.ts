import { describe, numel, type Shape, ShapeError, type Tensor, ValueError } from "@revnet-zero/tensor";
import { Bijection, type FlowLayer, type FlowOutput } from "./flowLayer.ts";

export interface Scale {
  readonly transform: FlowLayer;
  /** Shape of a sample behind the transform, channels first. */
  readonly shape: Shape;
}

/**
 * Transforms one after another, each of which but the last sends half of its channels on and the other half to the result:
 * `[batch, ...]` -> `[batch, dim]`, the halves that left first in front. Coarse scales cost less and details get fewer layers.
 * Source: Dinh et al. 2016 (arXiv:1605.08803), section 3.6.
 */
export class MultiScale extends Bijection {
  readonly scales: readonly Scale[];

  constructor(scales: readonly Scale[]) {
    super();
    const isOdd = ({ shape }: Scale): boolean => shape[0]! % 2 !== 0;
    if (scales.length === 0 || scales.slice(0, -1).some(isOdd)) {
      throw new ValueError(
        "MultiScale",
        `the scales have [${scales.map((s) => s.shape[0]).join(", ")}] channels`,
        "give at least one scale, and an even number of channels to all but the last: SpaceToDepth makes four of one",
      );
    }
    this.scales = scales;
  }

  override forward(x: Tensor): FlowOutput {
    const parts: Tensor[] = [];
    let rest = x;
    let logDeterminant: Tensor | undefined;
    this.scales.forEach(({ transform, shape }, i) => {
      const next = transform.call(rest);
      if (numel(shape) !== numel(next.value.shape.slice(1)))
        throw new ShapeError(
          "MultiScale",
          `scale ${i} gave ${describe(next.value)}`,
          `its shape says [${shape.join(", ")}]`,
        );
      const [leaving, staying] = i < this.scales.length - 1 ? next.value.split(2, 1) : [next.value];
      parts.push(flat(leaving!));
      rest = staying ?? rest;
      logDeterminant = logDeterminant?.add(next.logDeterminant) ?? next.logDeterminant;
    });
    return { value: parts[0]!.concat(parts.slice(1), 1), logDeterminant: logDeterminant! };
  }

  protected override invert(y: Tensor): FlowOutput {
    const sizes = this.scales.map(({ shape }, i) => numel(shape) / (i < this.scales.length - 1 ? 2 : 1));
    const parts = y.split(sizes, 1);
    let rest: Tensor | undefined;
    let logDeterminant: Tensor | undefined;
    for (let i = this.scales.length - 1; i >= 0; i--) {
      const { transform, shape } = this.scales[i]!;
      const [channels, ...sides] = shape as readonly [number, ...number[]];
      const leaving = parts[i]!.reshape([y.shape[0]!, rest === undefined ? channels : channels / 2, ...sides]);
      const next = transform.inverse(rest === undefined ? leaving : leaving.concat([rest], 1));
      rest = next.value;
      logDeterminant = logDeterminant?.add(next.logDeterminant) ?? next.logDeterminant;
    }
    return { value: rest!, logDeterminant: logDeterminant! };
  }
}

const flat = (x: Tensor): Tensor => x.reshape([x.shape[0]!, -1]);
