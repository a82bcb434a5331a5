import { CpuBackend } from "@revnet-zero/backend-cpu";
import {
  type DType,
  Engine,
  foldKey,
  randomKey,
  randomNormal,
  setDefaultEngine,
  type Tensor,
} from "@revnet-zero/tensor";
import {
  BlockSparse,
  eluFeatures,
  globalBlocks,
  Hierarchical,
  LinearAttention,
  type Mechanism,
  patternList,
  RandomFeatureAttention,
  randomBlocks,
  stridedBlocks,
  Tiled,
  together,
  windowBlocks,
} from "../src/index.ts";

export const engine: Engine = new Engine(new CpuBackend({ isPoisoned: true }));
setDefaultEngine(engine);

export const noise = (seed: number, shape: readonly number[], dtype: DType = "f32"): Tensor =>
  randomNormal(shape, { key: foldKey(randomKey(7), seed), dtype, engine });

/** q, k, v of [1, heads, time, dim]. */
export function operands(
  time: number,
  { heads = 2, keyHeads = heads, dim = 4, dtype = "f32", batch = 1 }: Partial<Sizes> = {},
): [Tensor, Tensor, Tensor] {
  return [
    noise(1, [batch, heads, time, dim], dtype),
    noise(2, [batch, keyHeads, time, dim], dtype),
    noise(3, [batch, keyHeads, time, dim], dtype),
  ];
}
interface Sizes {
  readonly heads: number;
  readonly keyHeads: number;
  readonly dim: number;
  readonly batch: number;
  readonly dtype: DType;
}

const heads = { numHeads: 2, numKeyValueHeads: 1, headDim: 4 };
const small = { ...heads, leafSize: 3, compressionRatios: [2, 4] };

/** Every causal way to attend, by name, for two heads of 4 on one of keys. */
export const causalMechanisms: Readonly<Record<string, (dtype: DType) => Mechanism>> = {
  tiled: () => new Tiled({ isCausal: true }),
  "tiled, windowed": () => new Tiled({ isCausal: true, window: 5 }),
  "window and global": () => sparse(together(windowBlocks(1), globalBlocks(1))),
  strided: () => sparse(together(windowBlocks(0), stridedBlocks(2))),
  random: () => sparse(together(windowBlocks(0), randomBlocks({ count: 2, key: randomKey(3) }))),
  hierarchical: (dtype) => new Hierarchical({ ...small, dtype }),
  "hierarchical, extended": (dtype) =>
    new Hierarchical({ ...small, compressionRatios: [2], extendLevels: true, dtype }),
  "hierarchical, learned": (dtype) => new Hierarchical({ ...small, pooling: "learned", levelBias: true, dtype }),
  "hierarchical, recalling": (dtype) =>
    new Hierarchical({ ...small, recall: { topK: 2, level: 1, queriesPerChoice: 1 }, dtype }),
  "hierarchical, recalling together": (dtype) =>
    new Hierarchical({ ...small, recall: { topK: 2, level: 1, queriesPerChoice: 5 }, dtype }),
  linear: () => new LinearAttention({ features: eluFeatures, chunkSize: 4 }),
  "random features": (dtype) =>
    new RandomFeatureAttention({ headDim: 4, numFeatures: 8, chunkSize: 4, key: randomKey(1), dtype }),
  "rational Fourier": (dtype) =>
    new RandomFeatureAttention({ headDim: 4, kind: "rationalFourier", chunkSize: 4, key: randomKey(1), dtype }),
};

const sparse = (pattern: Parameters<typeof patternList>[0]): BlockSparse =>
  new BlockSparse((queries) => patternList(pattern, { queries, blockSize: 3 }));

/** The largest distance of two tensors. */
export function distance(a: Tensor, b: Tensor): number {
  return engine.scope(() => a.detach().sub(b.detach()).abs().max().itemSync());
}
