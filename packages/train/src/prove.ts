import type { ByteBatch } from "@revnet-zero/data";
import type { ReversibleTransformer } from "@revnet-zero/models";
import {
  BitComparison,
  compareGradients,
  type ReversibleMode,
  storedTwin,
  takeGradients,
} from "@revnet-zero/reversible";
import type { HostData, Key, Tensor } from "@revnet-zero/tensor";
import { toTensors } from "./step.ts";

export interface ExactnessResult {
  readonly isReconstructionBitEqual: boolean;
  readonly isGradientBitEqual: boolean;
  /** Numbers compared bit by bit. */
  readonly elementsCompared: number;
  /** The first difference in words, where there is one. */
  readonly firstDifference: string | undefined;
}

/**
 * Compares a model with its stored twin on one batch, bit by bit: the streams rebuilt from the outputs with those that
 * went in, and every parameter gradient with ordinary backpropagation's. Gradients of the parameters are freed.
 */
export async function proveExactness(
  model: ReversibleTransformer,
  batch: ByteBatch,
  key: Key,
): Promise<ExactnessResult> {
  const mode = model.reversibility;
  const streams = new BitComparison();
  const gradients = new BitComparison();
  try {
    await compareStreams(model, batch, key, streams);
    const found = await gradientsIn(model, mode, batch, key);
    compareGradients(gradients, found, await gradientsIn(model, storedTwin(mode), batch, key));
  } finally {
    model.reversibility = mode;
  }
  return {
    isReconstructionBitEqual: streams.isEqual,
    isGradientBitEqual: gradients.isEqual,
    elementsCompared: streams.elements + gradients.elements,
    firstDifference: streams.firstDifference ?? gradients.firstDifference,
  };
}

async function compareStreams(
  model: ReversibleTransformer,
  batch: ByteBatch,
  key: Key,
  comparison: BitComparison,
): Promise<void> {
  const { sequence, embedding } = model;
  const { engine } = embedding.tokens.weight;
  const scope = engine.openScope("reconstruction");
  try {
    const inputs = engine.noGrad(() => {
      const x = embedding.call(toTensors(batch, engine)[0]);
      return (model.streams === "full" ? [x, x] : x.split(2)) as [Tensor, Tensor];
    });
    await engine.withKey(key, () => sequence.prepare(...inputs));
    const streams = inputs.map((x) => sequence.enter(x)) as [Tensor, Tensor];
    const back = engine.withKey(key, () => sequence.invertible(...streams).inverse());
    for (const [i, x] of streams.entries()) comparison.add(`stream ${i}`, await back[i]!.data(), await x.data());
  } finally {
    scope.close();
  }
}

async function gradientsIn(
  model: ReversibleTransformer,
  mode: ReversibleMode,
  batch: ByteBatch,
  key: Key,
): Promise<Map<string, HostData | undefined>> {
  const { engine } = model.embedding.tokens.weight;
  model.reversibility = mode;
  model.zeroGrad();
  engine.scope(() =>
    engine.withKey(key, () => {
      const [tokens, targets] = toTensors(batch, engine);
      model.loss(tokens, targets).backward();
    }),
  );
  return takeGradients(model);
}
