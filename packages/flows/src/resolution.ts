import type { Tensor } from "@revnet-zero/tensor";
import { Bijection, type FlowOutput, keepsVolume } from "./flowLayer.ts";
import { haarDownsample, haarUpsample } from "./haar.ts";
import { type CellOptions, depthToSpace, spaceToDepth } from "./spaceToDepth.ts";

/** `spaceToDepth` as a layer ("squeeze"), also on fixed-point streams. */
export class SpaceToDepth extends Bijection {
  readonly factor: number;

  constructor({ factor = 2 }: CellOptions = {}) {
    super();
    this.factor = factor;
  }
  override forward(x: Tensor): FlowOutput {
    return { value: spaceToDepth(x, this), logDeterminant: keepsVolume(x) };
  }
  protected override invert(y: Tensor): FlowOutput {
    return { value: depthToSpace(y, this), logDeterminant: keepsVolume(y) };
  }
}

/** `haarDownsample` as a layer: exact on fixed-point streams, orthonormal on floats. */
export class HaarDownsampling extends Bijection {
  override forward(x: Tensor): FlowOutput {
    return { value: haarDownsample(x), logDeterminant: keepsVolume(x) };
  }
  protected override invert(y: Tensor): FlowOutput {
    return { value: haarUpsample(y), logDeterminant: keepsVolume(y) };
  }
}
