import { useStandIn } from "@revnet-zero/backend-cuda/testing";
import { estimateProgram } from "@revnet-zero/memory";
import { ReversibleTransformer } from "@revnet-zero/models";
import { type BlockPolicy, HostOffload, losslessPolicies, type ReversibleMode } from "@revnet-zero/reversible";
import { type Backend, Engine, randomKey, tensor } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";

// Offloading on a device, on the stand-in for its driver, which does a stream's work as late as a device may: a missing wait gives other bits.
const reason = useStandIn();
afterEach(() => {
  process.env.REVNET_STANDIN_LATE = "";
});

if (reason === undefined) {
  const { CudaBackend } = await import("@revnet-zero/backend-cuda");
  const backend = new CudaBackend();
  const numLayers = 4;

  interface Kept {
    readonly mode: ReversibleMode;
    readonly plan?: readonly BlockPolicy[];
    readonly inFlightBytes?: number;
  }

  /** The gradients of two steps, on an engine whose ledger is held to the estimate. */
  function gradientsOf({ mode, plan, inFlightBytes = 0 }: Kept) {
    const offload = new HostOffload({ inFlightBytes });
    const program = (engine: Engine) => {
      const sizes = { vocabSize: 11, numLayers, dModel: 16, numHeads: 2, maxSeqLen: 8 };
      const model = new ReversibleTransformer({ ...sizes, reversibility: mode, key: randomKey(3), engine });
      if (plan !== undefined) model.sequence.plan = { blocks: plan };
      model.sequence.offload = offload;
      const tokens = () =>
        tensor(
          Int32Array.from({ length: 16 }, (_, i) => (7 * i) % 11),
          { shape: [2, 8], engine },
        );
      const step = (): void => {
        model.zeroGrad();
        model.loss(tokens(), tokens()).backward();
      };
      return { model, step };
    };
    const engine = new Engine(backend as Backend);
    const { model, step } = program(engine);
    for (let i = 0; i < 2; i++) {
      engine.ledger.resetPeak();
      engine.scope(step);
    }
    const gradients = model.parameters().map((p) => p.grad!.dataSync());
    const { peakBytes, atPeak } = engine.memory();
    const estimate = estimateProgram((on) => program(on).step, { like: backend as Backend });
    expect([peakBytes, atPeak]).toEqual([estimate.peakBytes, estimate.atPeak]);
    model.dispose();
    expect([offload.heldBytes, backend.memory().hostBytes, backend.memory().liveBlocks]).toEqual([0, 0, 0]);
    return { gradients, offload, peakBytes };
  }

  const plans = fc.record({
    plan: fc.array(fc.constantFrom(...losslessPolicies, "offload" as const, "swap" as const), {
      minLength: numLayers,
      maxLength: numLayers,
    }),
    inFlightBytes: fc.constantFrom(0, 1000, 5000, 1e6),
    late: fc.constantFrom("", "copies", "work"),
  });

  test("any plan gives the bits of stored backpropagation, and the ledger the estimate's bytes, however late copies are", () => {
    const stored = gradientsOf({ mode: "store" }).gradients;
    fc.assert(
      fc.property(plans, ({ plan, inFlightBytes, late }) => {
        process.env.REVNET_STANDIN_LATE = late;
        expect(gradientsOf({ mode: "exact", plan, inFlightBytes }).gradients).toEqual(stored);
      }),
      runs(12),
    );
  });
} else {
  test("offloading on the stand-in driver", (context) => context.skip(reason));
}
