import { CpuBackend } from "@revnet-zero/backend-cpu";
import type { ReversibleMode } from "@revnet-zero/reversible";
import { Engine, type HostData, type Key, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import { Random } from "@revnet-zero/testkit";
import fc from "fast-check";
import { type LanguageModel, ReversibleTransformer, type ReversibleTransformerOptions } from "../src/index.ts";

export const engine: Engine = new Engine(new CpuBackend());
export const key: Key = randomKey(7);

/** The smallest model that has all parts. */
export const small = { vocabSize: 11, numLayers: 2, dModel: 8, numHeads: 2, maxSeqLen: 8, key, engine } as const;

export type Shape = Omit<ReversibleTransformerOptions, "key" | "engine" | "reversibility">;

/** Models of every kind, each a few thousand parameters. */
export const shapes: fc.Arbitrary<Shape> = fc
  .record({
    vocabSize: fc.integer({ min: 2, max: 20 }),
    numLayers: fc.integer({ min: 1, max: 3 }),
    headDim: fc.constantFrom(2, 4, 6),
    numKeyValueHeads: fc.integer({ min: 1, max: 2 }),
    group: fc.integer({ min: 1, max: 2 }),
    mlpRatio: fc.constantFrom(1, 2.5),
    mlp: fc.constantFrom("gelu", "geglu", "swiglu"),
    norm: fc.constantFrom("layer", "rms"),
    positions: fc.constantFrom("rotary", "learned"),
    dropout: fc.constantFrom(0, 0.2),
    tieEmbeddings: fc.boolean(),
    streams: fc.constantFrom("full", "split"),
    fractionBits: fc.constantFrom(12, 20),
  } as const)
  .map(({ headDim, group, ...rest }) => {
    const numHeads = rest.numKeyValueHeads * group;
    const width = headDim * numHeads;
    return { ...rest, numHeads, dModel: rest.streams === "split" ? 2 * width : width, maxSeqLen: 9 };
  });

export interface Batch {
  readonly batch: number;
  readonly time: number;
  readonly seed: number;
}
export const batches: fc.Arbitrary<Batch> = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  time: fc.integer({ min: 1, max: 9 }),
  seed: fc.nat(),
});

/** Random tokens and targets, a tenth of the targets left out. */
export function draw(vocabSize: number, { batch, time, seed }: Batch, on: Engine = engine): readonly [Tensor, Tensor] {
  const random = new Random(seed);
  const shape = [batch, time];
  const words = (make: () => number): Tensor =>
    tensor(Int32Array.from({ length: batch * time }, make), { shape, engine: on });
  const token = (): number => random.integer(0, vocabSize - 1);
  return [words(token), words(() => (random.unit() < 0.1 ? -1 : token()))];
}

/** The loss of one pass in a mode, and every parameter's gradient by name; the gradients are freed. */
export function passOf(model: LanguageModel, batch: Batch, mode?: ReversibleMode): Map<string, HostData | undefined> {
  if (mode !== undefined && model instanceof ReversibleTransformer) model.reversibility = mode;
  const found = new Map<string, HostData | undefined>();
  engine.scope(() =>
    engine.withKey(key, () => {
      const loss = model.loss(...draw(model.options.vocabSize, batch));
      loss.backward();
      found.set("loss", loss.dataSync());
    }),
  );
  for (const [name, p] of model.namedParameters()) found.set(name, p.grad?.dataSync());
  model.zeroGrad();
  return found;
}
