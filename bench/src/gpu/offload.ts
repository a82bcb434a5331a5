import type { CudaBackend } from "@revnet-zero/backend-cuda";
import { ReversibleTransformer } from "@revnet-zero/models";
import { type BlockPolicy, HostOffload } from "@revnet-zero/reversible";
import { type Backend, Engine, type HostData, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import { median } from "../statistics.ts";

export interface OffloadSizes {
  readonly layers: number;
  readonly width: number;
  readonly batch: number;
  readonly length: number;
  readonly vocabulary: number;
  readonly rounds: number;
  /** Bytes of the copy whose speed is measured by itself. */
  readonly linkBytes: number;
}
/** GPT-2's shape. */
export const gpt2Sizes: OffloadSizes = {
  ...{ layers: 12, width: 768, batch: 8, length: 1024, vocabulary: 50304 },
  ...{ rounds: 5, linkBytes: 2 ** 28 },
};
export const tinySizes: OffloadSizes = {
  ...{ layers: 3, width: 32, batch: 2, length: 16, vocabulary: 64 },
  ...{ rounds: 1, linkBytes: 2 ** 16 },
};

export interface LinkSpeed {
  readonly outGBs: number;
  readonly backGBs: number;
}

/** What one large copy reaches in each direction while nothing else is done. */
export function linkSpeed(backend: CudaBackend, bytes: number): LinkSpeed {
  const data = backend.allocate("i32", bytes / 4);
  backend.device.fill(data.address, 1, bytes);
  const { hostCopies } = backend;
  // Pinned memory is made by the first, which is not timed.
  hostCopies.copy(data, "i32", bytes / 4).release();
  const timed = (move: () => void): number => {
    const before = hostCopies.copiesMs();
    move();
    return bytes / 1e6 / (hostCopies.copiesMs() - before);
  };
  let copy = hostCopies.copy(data, "i32", bytes / 4);
  const outs = Array.from({ length: 3 }, () => {
    copy.release();
    return timed(() => {
      copy = hostCopies.copy(data, "i32", bytes / 4);
      copy.settle();
    });
  });
  const backs = Array.from({ length: 3 }, () =>
    timed(() => {
      copy.copyTo(data);
      copy.settle();
    }),
  );
  copy.release();
  backend.free(data);
  return { outGBs: median(outs), backGBs: median(backs) };
}

export interface OffloadedPass {
  readonly name: string;
  readonly passMs: number;
  readonly peakBytes: number;
  /** Copied in a pass, in both directions, and what that took by itself. */
  readonly copiedBytes: number;
  readonly copiesMs: number;
  /** For how much of that the computation waited. */
  readonly waitsMs: number;
  /** Whether gradients have the bits of the first of the passes. */
  readonly isSame: boolean;
}

/** What is done with every layer: one policy, or two in turn. */
const plans: readonly (readonly BlockPolicy[])[] = [
  ["store"],
  ["swap"],
  ["swap", "store"],
  ["checkpoint"],
  ["offload"],
  ["reconstruct"],
];

/** Forward and backward passes in bfloat16 whose layers are offloaded, beside those whose layers are not, one after the other. */
export function offloadedPasses(backend: CudaBackend, sizes: OffloadSizes): OffloadedPass[] {
  const { layers, width, batch, length, vocabulary, rounds } = sizes;
  const engine = new Engine(backend as Backend);
  const key = randomKey(1);
  const shape = { vocabSize: vocabulary, numLayers: layers, dModel: width, maxSeqLen: length };
  const model = new ReversibleTransformer({ ...shape, numHeads: Math.max(1, width / 64), key, engine });
  const offload = new HostOffload();
  model.sequence.offload = offload;
  const words = Int32Array.from({ length: batch * length }, (_, i) => (i * 7919) % vocabulary);
  const tokens = (): Tensor => tensor(words, { shape: [batch, length], engine });
  const pass = (): void => {
    model.zeroGrad();
    engine.scope(() => engine.autocast("bf16", () => model.loss(tokens(), tokens())).backward());
  };
  const follow = (plan: readonly BlockPolicy[]): void => {
    model.sequence.plan = { blocks: model.sequence.blocks.map((_, i) => plan[i % plan.length]!) };
  };
  const gradients = (): HostData[] => model.parameters().map((p) => p.grad!.dataSync());

  let first: readonly HostData[] | undefined;
  const rows = plans.map((plan) => {
    follow(plan);
    pass();
    engine.ledger.resetPeak();
    const { hostCopies } = backend;
    const before = [offload.copiedBytes, hostCopies.copiesMs(), hostCopies.waitsMs()] as const;
    pass();
    const found = gradients();
    first ??= found;
    return {
      name: plan.join(", "),
      peakBytes: engine.memory().peakBytes,
      copiedBytes: offload.copiedBytes - before[0],
      copiesMs: hostCopies.copiesMs() - before[1],
      waitsMs: hostCopies.waitsMs() - before[2],
      isSame: found.every((g, i) => firstUnlike(g, first![i]!) < 0),
      times: [] as number[],
    };
  });
  for (let round = 0; round < rounds; round++) {
    plans.forEach((plan, i) => {
      follow(plan);
      pass();
      backend.synchronize();
      const start = performance.now();
      pass();
      backend.synchronize();
      rows[i]!.times.push(performance.now() - start);
    });
  }
  model.zeroGrad();
  model.dispose();
  backend.releaseCaches();
  return rows.map(({ times, ...row }) => ({ ...row, passMs: median(times) }));
}

/** The first place where two arrays have different numbers; zeros by their signs, too. */
function firstUnlike(a: HostData, b: HostData): number {
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return i;
  return -1;
}
