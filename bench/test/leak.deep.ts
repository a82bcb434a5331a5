import { useStandIn } from "@revnet-zero/backend-cuda/testing";
import { Engine } from "@revnet-zero/tensor";
import { defaultConfig, Trainer } from "@revnet-zero/train";
import { expect, test } from "vitest";
import { someText } from "../src/gpu/exactness.ts";
import { memoryOverSteps, watchSteps } from "../src/gpu/leak.ts";

// What `run.sh leak` proves on a device, of everything but the kernels: the stand-in is told to run none.
const reason = useStandIn();
process.env.REVNET_STANDIN_IDLE = "1";

if (reason === undefined) {
  const { CudaBackend } = await import("@revnet-zero/backend-cuda");
  const backend = new CudaBackend();

  test("20,000 steps, called op by op, end with the device memory they began with", async () => {
    const { used, reserved, liveBlocks } = await memoryOverSteps(backend, 20_000);
    expect(used.most).toBe(used.least);
    expect(reserved.most).toBe(reserved.least);
    expect(liveBlocks).toBe(0);
  });

  // Blocks of many sizes, on both sides of a megabyte, and evaluations in between that need others.
  test.each([
    ["recorded", true],
    ["called op by op", false],
  ])(
    "4,000 steps of the trainer, %s, with evaluations, take nothing more after the first hundred",
    async (_, isRecorded) => {
      const { model, train } = defaultConfig;
      const config = {
        ...defaultConfig,
        model: { ...model, numLayers: 3, dModel: 96, maxSeqLen: 96, dropout: 0.1 },
        train: {
          ...{ ...train, steps: 4000, batchSize: 6, microBatches: 2, sequenceLength: 96, precision: "bf16" as const },
          ...{ evalEvery: 25, evalBatches: 2, sampleEvery: 0, checkpointEvery: 0 },
        },
      };
      const trainer = new Trainer({ config, engine: new Engine(backend), text: someText(200_000), isRecorded });
      const { used, reserved } = await watchSteps(backend, 100, async (afterStep) => {
        trainer.on("step", afterStep);
        await trainer.run();
      });
      expect(used.most).toBe(used.least);
      expect(reserved.most).toBe(reserved.least);
      trainer.dispose();
      expect(backend.memory().liveBlocks).toBe(0);
    },
  );
} else {
  test("memory over many steps on the stand-in driver", (context) => context.skip(reason));
}
