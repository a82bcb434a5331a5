import { type Compiled, compileGradients } from "@revnet-zero/compile";
import type { ByteBatch } from "@revnet-zero/data";
import { type LanguageModel, ReversibleTransformer } from "@revnet-zero/models";
import { clipByGlobalNorm } from "@revnet-zero/optim";
import { type Engine, foldKey, full, type Key, ops, type Tensor, tensor } from "@revnet-zero/tensor";
import type { AnyOptimizer } from "./build.ts";
import type { Precision } from "./config.ts";

/** The measured quantities of one optimizer step, still on the device. */
export interface StepGradients {
  /** Mean cross-entropy in nats per byte over all micro-batches. */
  readonly loss: Tensor;
  /** Euclidean norm of the whole gradient, before clipping and without the scale. */
  readonly norm: Tensor;
  /** What clipping, and taking the scale back, multiply gradients with; undefined without either. */
  readonly factor: Tensor | undefined;
}

export const toTensors = ({ inputs, targets, batchSize, sequenceLength }: ByteBatch, engine: Engine): Batch => {
  const shape = [batchSize, sequenceLength];
  return [tensor(inputs, { shape, engine }), tensor(targets, { shape, engine })];
};

export interface PassOptions {
  /** What matrix products and attention read. Default f32. */
  readonly precision?: Precision;
  /** What the loss is multiplied with before backward (`GradScaler`), asked at every call. Default 1. */
  readonly scale?: () => number;
}

export interface RecordedPassOptions extends PassOptions {
  /** As `CompileOptions.graph`. Default false. */
  readonly graph?: boolean;
}

/** Tokens and targets of a micro-batch, on the device. */
export type Batch = readonly [tokens: Tensor, targets: Tensor];

/** Runs `f` with operands of matrix products and attention rounded to a precision. */
export const inPrecision = <T>(engine: Engine, precision: Precision, f: () => T): T =>
  precision === "f32" ? f() : engine.autocast(precision, f);

/** Forward and backward of one micro-batch: adds to the gradients and gives its share of the mean loss. */
export type Pass = (tokens: Tensor, targets: Tensor) => Tensor;

/** The pass of a model whose step has so many micro-batches. */
export function passOf(
  model: LanguageModel,
  microBatches: number,
  { precision = "f32", scale = () => 1 }: PassOptions = {},
): Pass {
  return (tokens, targets) => {
    const loss = inPrecision(tokens.engine, precision, () => model.loss(tokens, targets)).mul(1 / microBatches);
    const by = scale();
    (by === 1 ? loss : loss.mul(by)).backward();
    return loss.detach();
  };
}

/** The same, recorded at its second call and run from the recording since: the same bits, sooner. Its owner disposes it. */
export function recordedPassOf(
  model: LanguageModel,
  microBatches: number,
  { graph = false, ...options }: RecordedPassOptions = {},
): Compiled<[Tensor, Tensor], Tensor> {
  const guard = guardOf(model, options.scale);
  return compileGradients(model.parameters(), passOf(model, microBatches, options), { guard, graph });
}

/** What a recording of a model's pass depends on. Another scale is another recording, and another offload store. */
export function guardOf(model: LanguageModel, scale: () => number = () => 1): () => string {
  const sequence = model instanceof ReversibleTransformer ? model.sequence : undefined;
  let store = sequence?.offload;
  let stores = 0;
  return () => {
    if (sequence?.offload !== store) stores++;
    store = sequence?.offload;
    return `${model.training} ${sequence?.mode} ${sequence?.plan?.blocks} ${stores} ${sequence?.check} ${scale()}`;
  };
}

export interface GradientOptions {
  /** Longest allowed norm of the whole gradient; 0 is no limit. */
  readonly clipNorm: number;
  /** What matrix products and attention read. Default f32. */
  readonly precision?: Precision;
  /** What the pass multiplies the loss with (`GradScaler`). Default 1. */
  readonly scale?: number;
  /** Default: the model's in this precision and scale, unrecorded. */
  readonly pass?: Pass;
}

/**
 * Forward and backward over the micro-batches of a step; gradients add up in the parameters. Random layers draw from
 * (key, step, micro-batch), so accumulation repeats no mask and a resumed run draws the same ones.
 */
export function computeGradients(
  model: LanguageModel,
  batches: readonly ByteBatch[],
  { key, step, ...options }: GradientOptions & { readonly key: Key; readonly step: number },
): StepGradients {
  const { engine } = model.embedding.tokens.weight;
  const made = batches.map((batch) => () => toTensors(batch, engine));
  return engine.withKey(foldKey(key, step), () => gradientsOf(model, made, options));
}

/** The same on tensors, each made when its pass comes; the ambient key is the step's. */
export function gradientsOf(
  model: LanguageModel,
  batches: readonly (() => Batch)[],
  {
    clipNorm,
    precision = "f32",
    scale = 1,
    pass = passOf(model, batches.length, { precision, scale: () => scale }),
  }: GradientOptions,
): StepGradients {
  const { engine } = model.embedding.tokens.weight;
  return engine.scope(() => {
    let total: Tensor | undefined;
    batches.forEach((batch, micro) => {
      // A part is let go of at once: the next pass may be a graph that writes to where it lies.
      total = engine.scope(() => {
        const part = engine.withFoldedKey(micro, () => pass(...batch()));
        return total === undefined ? part : total.add(part);
      });
    });
    const gradients = model.parameters().flatMap((p) => (p.grad === undefined ? [] : [p.grad]));
    if (clipNorm > 0) return { loss: total!, ...clipByGlobalNorm(model.parameters(), clipNorm, { scale }) };
    const norm = total!.apply(ops.globalNorm, gradients, undefined);
    if (scale === 1) return { loss: total!, norm, factor: undefined };
    return { loss: total!, norm: norm.mul(1 / scale), factor: full([], 1 / scale, { engine }) };
  }, "step");
}

/** Updates the parameters and frees the gradients. */
export function applyGradients(
  optimizer: AnyOptimizer,
  learningRate: number | (() => number),
  factor: Tensor | undefined,
): void {
  optimizer.step({ learningRate, ...(factor === undefined ? {} : { gradientFactor: factor }) });
  optimizer.zeroGrad();
}
