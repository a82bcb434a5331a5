export { ActNorm, type ActNormOptions, initialiseFromData } from "./actNorm.ts";
export { type GlowOptions, glow, type NICEOptions, nice, type RealNVPOptions, realNVP } from "./build.ts";
export {
  ChannelPermutation,
  type ChannelPermutationOptions,
  randomOrder,
  reversedOrder,
} from "./channelPermutation.ts";
export { type ConditionerOptions, ConvConditioner, denseConditioner } from "./conditioners.ts";
export {
  AdditiveCoupling,
  type AdditiveCouplingOptions,
  AffineCoupling,
  type AffineCouplingOptions,
  Coupling,
  type CouplingOptions,
} from "./coupling.ts";
export {
  DiagonalNormal,
  Distribution,
  type DistributionOptions,
  StandardLogistic,
  StandardNormal,
} from "./distributions.ts";
export { Bijection, FlowLayer, type FlowOutput, type Retraced } from "./flowLayer.ts";
export { type FlowMode, FlowSequence, type FlowSequenceOptions } from "./flowSequence.ts";
export { haarDownsample, haarUpsample } from "./haar.ts";
export { Householder, type HouseholderOptions } from "./householder.ts";
export { InvertibleLinear, type InvertibleLinearOptions } from "./invertibleLinear.ts";
export { Logit, type LogitOptions } from "./logit.ts";
export { MultiScale, type Scale } from "./multiScale.ts";
export { NormalizingFlow, type NormalizingFlowOptions } from "./normalizingFlow.ts";
export { OnFixedPoint, type OnFixedPointOptions } from "./onFixedPoint.ts";
export { bitsPerDimension, type DequantisationOptions, dequantisePixels, quantisePixels } from "./pixels.ts";
export { HaarDownsampling, SpaceToDepth } from "./resolution.ts";
export { type CellOptions, depthToSpace, spaceToDepth } from "./spaceToDepth.ts";
export { StreamCouplings, type StreamCouplingsOptions } from "./streamCouplings.ts";
