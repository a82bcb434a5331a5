import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { CpuBackend } from "@revnet-zero/backend-cpu";
import { ReversibleTransformer } from "@revnet-zero/models";
import { AdamW } from "@revnet-zero/optim";
import { Engine, foldKey, randomKey, tensor } from "@revnet-zero/tensor";
import { expect, test } from "vitest";

const MIB = 2 ** 20;

/** What live objects take, after a collection. */
function bytesOfObjects(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}

test("10,000 steps leave live tensors, their bytes and the heap as 100 steps do", () => {
  const backend = new CpuBackend();
  const engine = new Engine(backend);
  const settings = { vocabSize: 16, numLayers: 2, dModel: 16, numHeads: 2, maxSeqLen: 8, dropout: 0.1 };
  const model = new ReversibleTransformer({ ...settings, key: randomKey(1), engine });
  const optimizer = new AdamW(model.parameters(), { learningRate: 1e-3 });
  const step = (n: number): void =>
    engine.scope(() => {
      const tokens = (offset: number) =>
        tensor(
          Int32Array.from({ length: 8 }, (_, i) => (i + n + offset) % 16),
          { shape: [1, 8], engine },
        );
      engine.withKey(foldKey(randomKey(1), n), () => model.loss(tokens(0), tokens(1))).backward();
      optimizer.step();
      optimizer.zeroGrad();
    });
  const state = () => {
    return { liveBytes: engine.memory().liveBytes, liveTensors: engine.liveTensors, heapBytes: backend.heapBytes };
  };
  for (let n = 0; n < 100; n++) step(n);
  const early = state();
  // The compiler and the collector's young generation take two thousand steps to reach their size.
  for (let n = 100; n < 3000; n++) step(n);
  const [objects, resident] = [bytesOfObjects(), process.memoryUsage().rss];
  for (let n = 3000; n < 10_000; n++) step(n);
  expect(state()).toEqual(early);
  // One leaked tensor a step would be a megabyte of handles.
  expect(bytesOfObjects() - objects).toBeLessThan(MIB / 2);
  expect(process.memoryUsage().rss - resident).toBeLessThan(64 * MIB);
});
