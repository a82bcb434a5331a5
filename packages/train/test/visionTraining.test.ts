import { CpuBackend } from "@revnet-zero/backend-cpu";
import { ImageBatches, loadMnist } from "@revnet-zero/data";
import { type ImageClassifier, ReversibleResNet, ReversibleVisionTransformer } from "@revnet-zero/models";
import { AdamW } from "@revnet-zero/optim";
import type { ReversibleMode } from "@revnet-zero/reversible";
import { Engine, foldKey, type HostData, randomKey, tensor } from "@revnet-zero/tensor";
import { expectBitEqual } from "@revnet-zero/testkit";
import { expect, test } from "vitest";

const digits = await loadMnist();
const key = randomKey(1);
const image = { imageSize: 28, channels: 1, numClasses: 10, dropout: 0.1, key } as const;

const models: readonly (readonly [string, (reversibility: ReversibleMode, engine: Engine) => ImageClassifier])[] = [
  [
    "vision transformer",
    (reversibility, engine) =>
      new ReversibleVisionTransformer({
        ...image,
        patchSize: 7,
        numLayers: 2,
        dModel: 16,
        numHeads: 2,
        reversibility,
        engine,
      }),
  ],
  [
    "ResNet with running statistics",
    (reversibility, engine) =>
      new ReversibleResNet({ ...image, stageBlocks: [1, 1], width: 2, norm: "batch", reversibility, engine }),
  ],
];

test.each(models)("a %s on real digits has the bits of its stored twin after every step", (_, make) => {
  const train = (mode: ReversibleMode): { readonly losses: number[]; readonly state: Map<string, HostData> } => {
    const engine = new Engine(new CpuBackend());
    const model = make(mode, engine);
    const optimizer = new AdamW(model.parameters(), { learningRate: 3e-3 });
    const augmentation = { shift: 2, rotation: 10, scale: 0.1 };
    const batches = new ImageBatches(digits.train, { batchSize: 16, seed: 1, augmentation, mean: 0.131, std: 0.309 });
    const losses: number[] = [];
    for (let step = 0; step < 12; step++) {
      engine.scope(() => {
        const { images, shape, labels } = batches.batchAt(step);
        const loss = engine.withKey(foldKey(key, step), () =>
          model.loss(tensor(images, { shape, engine }), tensor(labels, { engine }), { labelSmoothing: 0.1 }),
        );
        loss.backward();
        optimizer.step();
        optimizer.zeroGrad();
        losses.push(loss.itemSync());
      });
    }
    return { losses, state: new Map([...model.stateDict()].map(([name, t]) => [name, t.dataSync()])) };
  };
  const [exact, stored] = [train("exact"), train("store")];
  expect(exact.losses).toEqual(stored.losses);
  expect(new Set(exact.losses).size).toBe(12);
  for (const [name, values] of stored.state) expectBitEqual(exact.state.get(name)!, values, name);
});
