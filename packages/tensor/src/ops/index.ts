// THE OP TABLE: this module's namespace. A new op is one line here; every backend then fails to compile until it has
// a kernel (elementwise ops, views and ops with a decomposition need none).
export { addNorm, addNormBackward, fixedPointAddNorm, fixedPointNorm } from "./addNorm.ts";
export { attention, attentionBackward } from "./attention.ts";
export {
  add,
  atan2,
  bitwiseAnd,
  bitwiseOr,
  bitwiseXor,
  div,
  equal,
  floorDivide,
  floorMod,
  greater,
  greaterEqual,
  less,
  lessEqual,
  logicalAnd,
  logicalOr,
  logicalXor,
  maximum,
  minimum,
  mod,
  mul,
  notEqual,
  pow,
  shiftLeft,
  shiftRight,
  sub,
} from "./binary.ts";
export { channelFixedPointAdd, dequantiseChannels, quantiseChannels } from "./channelFixedPoint.ts";
export { conv2d, conv2dInputGradient, conv2dWeightGradient } from "./conv.ts";
export { assign, cast, copy, fill } from "./copy.ts";
export { decodeAttention } from "./decodeAttention.ts";
export { feedForward, linearActivationBackward } from "./feedForward.ts";
export { dequantise, fixedPointAdd, quantise } from "./fixedPoint.ts";
export { scatterAdd, scatterAddAlong, scatterAddTo, take, takeAlong } from "./gather.ts";
export { gridAdd, snapToGrid } from "./grid.ts";
export { headAttention, headAttentionBackward } from "./headAttention.ts";
export { linear, linearParametersBackward } from "./linear.ts";
export { matmul, matmulAdd } from "./matmul.ts";
export { concat, overwrite, pad, writeSlice } from "./move.ts";
export { layerNorm, layerNormBackward, rmsNorm, rmsNormBackward } from "./norm.ts";
export { adamw, adamwCopying, globalNorm, lion } from "./optimizer.ts";
export { fromOrdered, toOrdered } from "./ordered.ts";
export { pyramid, pyramidGradient } from "./pyramid.ts";
export { bitsToNormal, bitsToUniform, dropout, randomBits } from "./random.ts";
export { argmax, argmin, cumsum, max, min, prod, sum } from "./reduce.ts";
export { rope } from "./rope.ts";
export {
  crossEntropy,
  crossEntropyBackward,
  crossEntropyWithGradient,
  logSoftmax,
  softmax,
  softmaxBackward,
} from "./softmax.ts";
export { sort, topk } from "./sort.ts";
export { sparseAttention, sparseAttentionBackward } from "./sparseAttention.ts";
export {
  abs,
  bitwiseNot,
  ceil,
  cos,
  erf,
  exp,
  expm1,
  finite,
  floor,
  gelu,
  geluExact,
  isNan,
  log,
  log1p,
  logicalNot,
  neg,
  reciprocal,
  relu,
  round,
  rsqrt,
  sigmoid,
  sign,
  silu,
  sin,
  softplus,
  sqrt,
  square,
  tanh,
  trunc,
} from "./unary.ts";
export { alias, expand, flip, permute, reshape, slice, split } from "./view.ts";
export { where } from "./where.ts";
