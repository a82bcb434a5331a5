import { checkSizes, type RandomLayerOptions } from "@revnet-zero/nn";
import type { Branch } from "@revnet-zero/reversible";
import { defaultEngine, foldKey, type Shape, ValueError } from "@revnet-zero/tensor";
import { ActNorm } from "./actNorm.ts";
import { ChannelPermutation, reversedOrder } from "./channelPermutation.ts";
import { type ConditionerOptions, ConvConditioner, denseConditioner } from "./conditioners.ts";
import { AdditiveCoupling, AffineCoupling } from "./coupling.ts";
import type { FlowLayer } from "./flowLayer.ts";
import { type FlowMode, FlowSequence } from "./flowSequence.ts";
import { InvertibleLinear } from "./invertibleLinear.ts";
import { MultiScale } from "./multiScale.ts";
import { OnFixedPoint } from "./onFixedPoint.ts";
import { SpaceToDepth } from "./resolution.ts";

interface FlowOptions extends Omit<RandomLayerOptions, "init"> {
  /** Units, or channels, of the couplings' hidden layers. */
  readonly hidden: number;
  /** Default "rebuild". */
  readonly mode?: FlowMode;
  /** Bound of a coupling's log-scale. Default 2. */
  readonly scaleBound?: number;
}

export interface RealNVPOptions extends FlowOptions {
  /** Elements of a sample, at least 2. */
  readonly dim: number;
  /** Couplings one after another. */
  readonly couplings: number;
}

/**
 * A flow of vectors `[batch, dim]`: ActNorm, invertible mixing, affine coupling, again and again.
 * Source: Dinh et al. 2016 (arXiv:1605.08803); the mixing instead of alternating masks, Kingma & Dhariwal 2018 (arXiv:1807.03039).
 */
export function realNVP({ dim, couplings, mode = "rebuild", ...options }: RealNVPOptions): FlowSequence {
  checkSizes("realNVP", { dim, couplings, hidden: options.hidden });
  const layers = Array.from({ length: couplings }, (_, i) =>
    step({ ...options, channels: dim, key: foldKey(options.key, i) }, denseConditioner),
  );
  return new FlowSequence({ layers: layers.flat(), mode });
}

export interface NICEOptions extends Omit<FlowOptions, "scaleBound" | "dtype"> {
  /** Elements of a sample, at least 2. */
  readonly dim: number;
  /** Couplings one after another. */
  readonly couplings: number;
  /** Bits after the binary point of the streams. Default 20. */
  readonly fractionBits?: number;
}

/**
 * A flow of vectors `[batch, dim]` whose activations are rebuilt bit for bit: additive couplings on fixed-point streams, halves
 * exchanged in between, then a learned scale and shift of every element. It keeps volumes but for that scale, so it is less able than
 * `realNVP`; its gradients are exactly those of stored backpropagation.
 * Source: Dinh et al. 2014 (arXiv:1410.8516), section 3.
 */
export function nice({ dim, couplings, mode = "rebuild", fractionBits = 20, ...options }: NICEOptions): FlowSequence {
  const { hidden, key, engine = defaultEngine() } = options;
  checkSizes("nice", { dim, couplings, hidden });
  const moved = Math.floor(dim / 2);
  const layers = Array.from({ length: couplings }, (_, i) => [
    new AdditiveCoupling({
      channels: dim,
      fractionBits,
      network: denseConditioner({ engine, in: dim - moved, out: moved, hidden, key: foldKey(key, i) }),
    }),
    new ChannelPermutation({ order: reversedOrder(dim), engine }),
  ]);
  const inner = new FlowSequence({ layers: layers.flat(), mode, engine });
  const ends = [new OnFixedPoint({ inner, fractionBits }), new ActNorm({ channels: dim, engine })];
  // Two nodes at most: the streams', and a scale whose input is worth keeping, since a rebuilt one would be off by rounding.
  return new FlowSequence({ layers: ends, mode: "store", engine });
}

export interface GlowOptions extends FlowOptions {
  /** `[channels, height, width]` of an image; sides divide by 2^scales. */
  readonly shape: Shape;
  readonly scales: number;
  /** Couplings of a scale. */
  readonly couplings: number;
}

/**
 * A flow of images `[batch, c, h, w]` -> `[batch, c·h·w]`: at each scale space to depth, then ActNorm, 1x1 mixing, affine coupling again
 * and again, then half of the channels leave.
 * Source: Kingma & Dhariwal 2018 (arXiv:1807.03039), figure 2.
 */
export function glow({ shape, scales, couplings, mode = "rebuild", ...options }: GlowOptions): MultiScale {
  checkSizes("glow", { scales, couplings, hidden: options.hidden });
  const cell = 2 ** scales;
  if (shape.length !== 3 || shape[1]! % cell !== 0 || shape[2]! % cell !== 0) {
    throw new ValueError(
      "glow",
      `the image shape is [${shape.join(", ")}]`,
      `give [channels, height, width] with sides that divide by ${cell}, or fewer scales`,
    );
  }
  let [channels, height, width] = shape as [number, number, number];
  return new MultiScale(
    Array.from({ length: scales }, (_, scale) => {
      [channels, height, width] = [(scale === 0 ? channels : channels / 2) * 4, height / 2, width / 2];
      const key = foldKey(options.key, scale);
      const steps = Array.from({ length: couplings }, (_, i) =>
        step({ ...options, channels, key: foldKey(key, i) }, (o) => new ConvConditioner(o)),
      );
      const layers = [new SpaceToDepth(), ...steps.flat()];
      return { transform: new FlowSequence({ layers, mode }), shape: [channels, height, width] };
    }),
  );
}

interface StepOptions extends Omit<FlowOptions, "mode"> {
  readonly channels: number;
}

/** ActNorm, mixing, coupling. */
function step(
  { channels, hidden, scaleBound, ...rest }: StepOptions,
  conditioner: (options: ConditionerOptions) => Branch,
): FlowLayer[] {
  const moved = Math.floor(channels / 2);
  const network = conditioner({ ...rest, in: channels - moved, out: 2 * moved, hidden, key: foldKey(rest.key, 1) });
  return [
    new ActNorm({ ...rest, channels }),
    new InvertibleLinear({ ...rest, channels, key: foldKey(rest.key, 0) }),
    new AffineCoupling({ channels, network, ...(scaleBound === undefined ? {} : { scaleBound }) }),
  ];
}
