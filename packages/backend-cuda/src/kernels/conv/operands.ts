import type { AttrsOf, ops, Shape } from "@revnet-zero/tensor";
import type { CudaView } from "../../device/device.ts";

/** A convolution, or its gradient by the input or by the weight. */
export type Pass = "conv2d" | "conv2dInputGradient" | "conv2dWeightGradient";

/** Which tensor is a convolution's input, its weight and its output, or like it: one of the three is computed from the others. */
export interface Roles<T> {
  readonly x: T;
  readonly w: T;
  readonly y: T;
}

export type ConvolutionAttrs = AttrsOf<typeof ops.conv2d>;

export interface Convolution extends Roles<CudaView>, ConvolutionAttrs {}

/** What writes y from x, or x from y. */
export type DataPass = Exclude<Pass, "conv2dWeightGradient">;

export const shapesOf = ({ x, w, y }: Roles<CudaView>): Roles<Shape> => ({ x: x.shape, w: w.shape, y: y.shape });

export type Pair = readonly [number, number];
export type Four = readonly [number, number, number, number];

/** A data pass as rows of channels that are written from channels of a group: sizes, and steps in the weight. */
export interface DataSizes {
  readonly from: Four;
  readonly to: Four;
  readonly kernel: Pair;
  /** Of a group. */
  readonly rows: number;
  readonly channels: number;
  readonly weightGroup: number;
  readonly weightRow: number;
  readonly weightChannel: number;
}

export function dataSizes(pass: DataPass, { x, w, y }: Roles<Shape>, groups: number): DataSizes {
  const [out, perGroup, ...kernel] = w as Four;
  const places = kernel[0] * kernel[1];
  const weightGroup = (out / groups) * perGroup * places;
  const [ofOut, ofChannel] = [perGroup * places, places];
  return pass === "conv2d"
    ? {
        ...{ from: x as Four, to: y as Four, kernel, rows: out / groups, channels: perGroup },
        ...{ weightGroup, weightRow: ofOut, weightChannel: ofChannel },
      }
    : {
        ...{ from: y as Four, to: x as Four, kernel, rows: perGroup, channels: out / groups },
        ...{ weightGroup, weightRow: ofChannel, weightChannel: ofOut },
      };
}
