import { join } from "node:path";
import { HierarchicalReversibleAttention } from "@revnet-zero/attention";
import { convolveBothWays, useStandIn } from "@revnet-zero/backend-cuda/testing";
import { type AttentionMaker, Decoder, ReversibleTransformer, Transformer, whyNotDecoded } from "@revnet-zero/models";
import { type Backend, Engine, randomKey, tensor, zeros } from "@revnet-zero/tensor";
import {
  applyGradients,
  buildOptimizer,
  computeGradients,
  defaultConfig,
  type Precision,
  runKey,
} from "@revnet-zero/train";

// Leaves the source of every kernel that training and decoding need in a folder: node record.ts <folder>. On the stand-in driver, which is
// told to compile and run none.

/** Widths and heads decide which kernels there are; batch, length and depth do not. */
const shapes = [
  { dModel: 768, numHeads: 12, vocabSize: 2048, sequenceLength: 128 },
  { dModel: 1024, numHeads: 16, vocabSize: 2048, sequenceLength: 128 },
  { dModel: 128, numHeads: 4, vocabSize: 256, sequenceLength: 128 },
] as const;
const modes = ["ordinary", "exact", "store", "checkpoint", "hierarchical"] as const;
/** Tokens of a leaf: a multiple of a tile, or part of one. Sequences are long enough for summaries. */
const leafSizes = { 768: 8, 1024: 64, 128: 8 } as const;
const precisions: readonly Precision[] = ["f32", "bf16", "f16"];

const reason = useStandIn();
if (reason !== undefined) throw new Error(reason);
process.env.REVNET_CUDA_CACHE = process.argv[2]!;
// With the stand-in's products, and no other library of NVIDIA's: those need a real driver.
process.env.REVNET_CUDA_LIBRARIES += `:${join(process.env.REVNET_CUDA_LIBRARIES!, "products")}`;
process.env.REVNET_CUDA_ATTENTION = "own";
process.env.REVNET_STANDIN_IDLE = "1";
const { CudaBackend } = await import("@revnet-zero/backend-cuda");
const backend = new CudaBackend();

/** Channels and sides of images, which decide about tiles, as those of ResNets and flows; places of a kernel, and strides. */
const channels = [16, 32, 64] as const;
const sides = [32, 8] as const;
const convolutions = [
  { kernel: 3, stride: 1 },
  { kernel: 3, stride: 2 },
  { kernel: 1, stride: 2 },
] as const;

for (const dtype of precisions)
  for (const width of channels)
    for (const side of sides)
      for (const { kernel, stride } of convolutions) {
        const engine = new Engine(backend as Backend);
        engine.scope(() => {
          const attrs = {
            stride: [stride, stride],
            padding: [kernel >> 1, kernel >> 1],
            dilation: [1, 1],
            groups: 1,
          } as const;
          const [x, w] = [
            zeros([64, width, side, side], { dtype, engine }),
            zeros([width, width, kernel, kernel], { dtype, engine }),
          ];
          convolveBothWays(x, w, attrs);
        });
      }
for (const { sequenceLength, ...shape } of shapes) {
  for (const precision of precisions) {
    for (const mode of modes) {
      const engine = new Engine(backend as Backend);
      const options = {
        ...defaultConfig.model,
        ...shape,
        numLayers: 2,
        dropout: 0.1,
        key: runKey(1, "parameters"),
        engine,
      };
      const leafSize = leafSizes[shape.dModel];
      const attention: AttentionMaker = (own) =>
        new HierarchicalReversibleAttention({ ...own, dModel: own.dim, leafSize, levelBias: true });
      const model =
        mode === "ordinary"
          ? new Transformer(options)
          : mode === "hierarchical"
            ? new ReversibleTransformer({ ...options, attention })
            : new ReversibleTransformer({ ...options, reversibility: mode });
      const optimizer = buildOptimizer(model, defaultConfig.optimizer);
      const size = 2 * sequenceLength;
      const batch = { inputs: new Int32Array(size), targets: new Int32Array(size), batchSize: 2, sequenceLength };
      const step = (): void => {
        const { loss, norm, factor } = computeGradients(model, [batch, batch], {
          ...{ key: randomKey(1), step: 0, clipNorm: 1, precision, scale: precision === "f16" ? 2 : 1 },
        });
        applyGradients(optimizer, 1e-3, factor);
        loss.itemSync();
        norm.itemSync();
        const tokens = tensor(batch.inputs, { shape: [2, sequenceLength], engine });
        engine.noGrad(() => model.inEval(() => model.loss(tokens, tokens)));
      };
      // As on Hopper, and as where there are tiles for tensor cores only.
      engine.scope(step);
      if (mode === "ordinary") backend.device.choices.preferring("tiles", () => engine.scope(step));
      optimizer.dispose();
      if (whyNotDecoded(model) === undefined)
        for (const batch of [1, 8, 16]) {
          const decoder = new Decoder(model, { batch, precision });
          const prompts = Array.from({ length: batch }, () => [1]);
          // As many tokens as make a graph. What is not computed is no number either.
          const length = 6;
          await decoder.continue(prompts, { length }).catch(() => {});
          await decoder.continue(prompts, { length, temperature: 1, topK: 5, key: randomKey(1) }).catch(() => {});
          decoder.dispose();
        }
      model.dispose();
    }
  }
}
console.log(`${backend.device.compiler.compiled} sources`);
