import type { Module } from "@revnet-zero/nn";
import type { ReversibleMode } from "@revnet-zero/reversible";
import { type HostData, randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";
import { Random } from "@revnet-zero/testkit";
import { type ImageClassifier, sizeOf } from "../src/imageClassifier.ts";
import { engine, key } from "./fixtures.ts";

export interface ImageBatch {
  readonly batch: number;
  readonly seed: number;
}

/** Random images and labels, one label in five left out. */
export function drawImages({ options }: ImageClassifier, { batch, seed }: ImageBatch): readonly [Tensor, Tensor] {
  const random = new Random(seed);
  const images = randomNormal([batch, options.channels, ...sizeOf(options)], { key: randomKey(seed), engine });
  const label = (): number => (random.unit() < 0.2 ? -1 : random.integer(0, options.numClasses - 1));
  return [images, tensor(Int32Array.from({ length: batch }, label), { engine })];
}

/** The gradients that a pass has left in a module, by name, copied and freed. */
export function takeGradients(module: Module): Map<string, HostData | undefined> {
  const found = new Map([...module.namedParameters()].map(([name, p]) => [name, p.grad?.dataSync()]));
  module.zeroGrad();
  return found;
}

/** The loss of one pass in a mode, and every parameter's gradient by name; the gradients are freed. */
export function imagePass(
  model: ImageClassifier & { reversibility?: ReversibleMode },
  batch: ImageBatch,
  mode?: ReversibleMode,
): Map<string, HostData | undefined> {
  if (mode !== undefined) model.reversibility = mode;
  const loss = engine.scope(() =>
    engine.withKey(key, () => {
      const value = model.loss(...drawImages(model, batch), { labelSmoothing: 0.1 });
      value.backward();
      return value.dataSync();
    }),
  );
  return new Map([["loss", loss], ...takeGradients(model)]);
}
