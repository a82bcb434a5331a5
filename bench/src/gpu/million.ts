import { parseArgs } from "node:util";
import { HierarchicalReversibleAttention } from "@revnet-zero/attention";
import { CpuBackend } from "@revnet-zero/backend-cpu";
import { CudaBackend } from "@revnet-zero/backend-cuda";
import { MetaBackend } from "@revnet-zero/backend-meta";
import { ReversibleTransformer } from "@revnet-zero/models";
import { AdamW } from "@revnet-zero/optim";
import { type Backend, Engine, findKernel, foldKey, type OpDef, ops, randomKey, tensor } from "@revnet-zero/tensor";

// Whole training steps of a reversible transformer with hierarchical attention on one long sequence: forward, backward, AdamW.
//   node million.ts --device cuda                        a million tokens, 24 layers of width 1024, bfloat16 products
//   node million.ts --device meta --layers 12,24,48      the ledger of such a step, without computing it
//   node million.ts --device cpu --tokens 16384 --layers 4 --dModel 128 --heads 4 --keyHeads 2

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "meta" },
    tokens: { type: "string", default: "1048576" },
    layers: { type: "string", default: "24" },
    dModel: { type: "string", default: "1024" },
    heads: { type: "string", default: "16" },
    keyHeads: { type: "string", default: "4" },
    leafSize: { type: "string", default: "64" },
    steps: { type: "string", default: "3" },
    dtype: { type: "string", default: "bf16" },
    streams: { type: "string", default: "split" },
    extendLevels: { type: "boolean", default: false },
  },
});

const devices: Readonly<Record<string, () => Backend>> = {
  cpu: () => new CpuBackend() as Backend,
  cuda: () => new CudaBackend() as Backend,
  // As on a device with a kernel for every op that the CPU has one for.
  meta: () => MetaBackend.like(new CpuBackend()) as Backend,
};
/** Fused ops of this step that matter at length: without a kernel their decompositions gather keys, chunk by chunk. */
const wanted = [ops.sparseAttention, ops.sparseAttentionBackward, ops.attention, ops.crossEntropy, ops.rope];

const [tokens, dModel, steps] = [values.tokens, values.dModel, values.steps].map(Number) as [number, number, number];
const streams = values.streams === "full" ? "full" : "split";
const make = devices[values.device];
if (make === undefined) throw new Error(`--device is ${values.device}: use ${Object.keys(devices).join(", ")}`);
const backend = make();
const missing = wanted.filter((op) => findKernel(backend, op as unknown as OpDef<never>) === undefined);
console.log(
  missing.length === 0
    ? `${backend.name}: a kernel for every op that matters`
    : `${backend.name}: no kernel for ${missing.map((op) => op.name).join(", ")}, which run as compositions`,
);

for (const numLayers of values.layers.split(",").map(Number)) {
  const engine = new Engine(backend);
  const model = new ReversibleTransformer({
    ...{ numLayers, dModel, numHeads: Number(values.heads), numKeyValueHeads: Number(values.keyHeads) },
    ...{ maxSeqLen: tokens, streams, feedForwardTokens: 8192, key: randomKey(1), engine },
    attention: (options) =>
      new HierarchicalReversibleAttention({
        ...options,
        dModel: options.dim,
        compressionRatios: [4, 16, 64, 256],
        leafSize: Number(values.leafSize),
        extendLevels: values.extendLevels,
      }),
  });
  const optimizer = new AdamW(model.parameters(), { learningRate: 3e-4 });
  const step = async (n: number): Promise<number | undefined> => {
    const scope = engine.openScope("step");
    const words = Int32Array.from({ length: tokens + 1 }, (_, i) => ((i * 7919 + n * 104729) >>> 3) % 256);
    const [inputs, targets] = [words.subarray(0, tokens), words.subarray(1)].map((w) =>
      tensor(Int32Array.from(w), { shape: [1, tokens], engine }),
    );
    const loss = engine.withKey(foldKey(randomKey(3), n), () =>
      values.dtype === "bf16"
        ? engine.autocast("bf16", () => model.loss(inputs!, targets!))
        : model.loss(inputs!, targets!),
    );
    loss.backward();
    optimizer.step();
    model.zeroGrad();
    const value = values.device === "meta" ? undefined : Number(await loss.item());
    scope.close();
    return value;
  };
  const losses: (number | undefined)[] = [];
  let start = performance.now();
  for (let n = 0; n < steps; n++) {
    // The first step makes the optimizer's state, and compiles.
    if (n === 1) {
      start = performance.now();
      engine.ledger.resetPeak();
    }
    losses.push(await step(n));
  }
  const seconds = (performance.now() - start) / 1000 / Math.max(1, steps - 1);
  const { peakBytes, atPeak, activationBytes } = engine.memory();
  const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(2);
  console.log(
    JSON.stringify({
      ...{ device: backend.name, tokens, numLayers, dModel, streams, parameters: model.parameterCount() },
      peakGB: gigabytes(peakBytes),
      activationGB: gigabytes(activationBytes),
      atPeakGB: Object.fromEntries(Object.entries(atPeak).map(([k, bytes]) => [k, gigabytes(bytes)])),
      ...(values.device === "meta" ? {} : { secondsAStep: seconds, tokensPerSecond: tokens / seconds, losses }),
    }),
  );
  optimizer.dispose();
  model.dispose();
}
