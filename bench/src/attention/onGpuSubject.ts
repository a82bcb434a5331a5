import { Hierarchical } from "@revnet-zero/attention";
import { CudaBackend } from "@revnet-zero/backend-cuda";
import { Engine, foldKey, randomKey, randomNormal, type Tensor } from "@revnet-zero/tensor";
import { answerRequests } from "../subject.ts";
import type { GpuAnswer, GpuRequest } from "./onGpu.ts";

// One forward and backward pass of causal hierarchical attention in bfloat16, pooling included, and what it takes at its peak.

const backend = new CudaBackend();
const engine = new Engine(backend);

await answerRequests(({ heads, keyHeads, dim, tokens, leafSize, extendLevels, recall }: GpuRequest): GpuAnswer => {
  const mechanism = new Hierarchical({
    ...{ numHeads: heads, numKeyValueHeads: keyHeads, headDim: dim, leafSize, extendLevels, engine },
    ...(recall === undefined ? {} : { recall }),
  });
  const draw = (count: number, seed: number): Tensor =>
    engine.keep(
      engine.scope(() =>
        randomNormal([1, count, tokens, dim], { key: foldKey(randomKey(1), seed), engine }).cast("bf16"),
      ),
    );
  const operands = [draw(heads, 0), draw(keyHeads, 1), draw(keyHeads, 2), draw(heads, 3)] as const;
  const pass = (): GpuAnswer =>
    engine.scope(() => {
      const leaves = operands.slice(0, 3).map((x) => x.detach().requireGrad()) as [Tensor, Tensor, Tensor];
      backend.synchronize();
      engine.ledger.resetPeak();
      const start = performance.now();
      const y = mechanism.call(...leaves);
      backend.synchronize();
      const middle = performance.now();
      y.backward({ gradient: operands[3] });
      backend.synchronize();
      const end = performance.now();
      for (const x of leaves) x.grad!.dispose();
      return {
        timeMs: end - start,
        forwardMs: middle - start,
        peakBytes: engine.memory().peakBytes,
        keysPerQuery: mechanism.ladderFor(tokens).list.pairs / tokens,
      };
    });
  // The first pass compiles kernels and makes the list.
  pass();
  const answer = pass();
  for (const x of operands) x.dispose();
  mechanism.dispose();
  backend.releaseCaches();
  return answer;
});
