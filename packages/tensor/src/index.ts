export { Ambient, type AmbientState, type Recall } from "./ambient.ts";
export type { BackwardOptions } from "./autograd/backward.ts";
export {
  type BackwardContext,
  checkpoint,
  checkpointAll,
  defineFunction,
  type ForwardContext,
  type FunctionDef,
} from "./autograd/function.ts";
export { savesOf } from "./autograd/opNode.ts";
export { ReplayLog } from "./autograd/replay.ts";
export type { KeptElsewhere, SavedKeeper } from "./autograd/saved.ts";
export { grad, jvp, type TransformOptions, valueAndGrad, vjp } from "./autograd/transforms.ts";
export {
  type Backend,
  type BufferView,
  type FusedKernels,
  type FusedName,
  findKernel,
  type Graph,
  type GraphMemory,
  type HostCopies,
  type HostCopy,
  type Kernel,
  type KernelTable,
  type MemoryModel,
  type OpName,
  type PrimitiveKernels,
  type PrimitiveName,
  widestFloat,
} from "./backend.ts";
export { collapse, type Loop } from "./collapse.ts";
export { defaultEngine, hasDefaultEngine, setDefaultEngine } from "./defaultEngine.ts";
export {
  allDTypes,
  type DType,
  type DTypeInfo,
  dtypes,
  gradientDType,
  isFloat,
  isInteger,
  promote,
  statisticsType,
  type TypedArray,
} from "./dtype.ts";
export { Engine, type EngineOptions, type HostObserver } from "./engine.ts";
export { type EnvironmentVariable, environment, readEnvironment } from "./env.ts";
export * from "./errors.ts";
export { differentiate } from "./expr/differentiate.ts";
export * as expr from "./expr/expr.ts";
export { type Printer, print } from "./expr/print.ts";
export { fromBf16, fromF16, toBf16, toF16 } from "./float16.ts";
export { contiguous, contiguousStrides, isContiguous, type Layout, reshapeLayout } from "./layout.ts";
export type { CastCopy } from "./memory/castCopy.ts";
export {
  type BytesByCategory,
  categories,
  type MemoryCategory,
  type MemoryObserver,
  type MemoryReport,
} from "./memory/ledger.ts";
export { expectNoLeak, liveReport } from "./memory/report.ts";
export { tensorsIn } from "./memory/scope.ts";
export { callSite } from "./memory/site.ts";
export type { Storage } from "./memory/storage.ts";
export * from "./op.ts";
export { type AttentionBias, biasSteps, RUN_WORDS } from "./ops/attentionList.ts";
export type { NarrowDType } from "./ops/channelFixedPoint.ts";
export { derivativeOf, flat, smooth, smoothByOutput } from "./ops/derive.ts";
export { addToRow } from "./ops/fixedPoint.ts";
export * as ops from "./ops/index.ts";
export { type Activation, activations } from "./ops/linear.ts";
export { type PyramidAttrs, type PyramidGradientAttrs, type PyramidLevel, pyramidLevels } from "./ops/pyramid.ts";
export {
  fillRandomBits,
  foldKey,
  type Key,
  type KeyDerivation,
  philox4x32,
  randomKey,
  randomWord,
  traceKeys,
} from "./rng.ts";
export { broadcastShapes, normalizeAxes, normalizeAxis, numel, type Shape, sameShape } from "./shape.ts";
export { writableCopyOf } from "./tensor/autocast.ts";
export { type HostData, readAll } from "./tensor/base.ts";
export {
  arange,
  type CreateOptions,
  fromWords,
  full,
  hostValues,
  type Nested,
  ones,
  type RandomOptions,
  randomNormal,
  randomUniform,
  randomWords,
  tensor,
  toWords,
  uninitialised,
  zeros,
} from "./tensor/create.ts";
export { type DispatchOptions, dispatch, lowered } from "./tensor/dispatch.ts";
export { makeTensor, type TensorInit } from "./tensor/link.ts";
export type { Rows } from "./tensor/rows.ts";
export { type AttentionOptions, type ConvOptions, Tensor } from "./tensor/tensor.ts";
export type { OpEvent, OpListener } from "./trace.ts";
export type { Broadcast, MatmulShape, ReshapeShape, ShapeMismatch } from "./types.ts";
