import { useStandIn } from "@revnet-zero/backend-cuda/testing";
import { estimateProgram } from "@revnet-zero/memory";
import { ReversibleTransformer } from "@revnet-zero/models";
import { type BlockPolicy, HostOffload, losslessPolicies, type ReversibleMode } from "@revnet-zero/reversible";
import { type Backend, Engine, randomKey, tensor } from "@revnet-zero/tensor";
import { runs } from "@revnet-zero/testkit";
import { recordedPassOf } from "@revnet-zero/train";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";

// Offloading on a device, on the stand-in for its driver, which does a stream's work as late as a device may: a missing wait gives other bits.
const reason = useStandIn();
afterEach(() => {
  process.env.REVNET_STANDIN_LATE = process.env.REVNET_STANDIN_GRAPH = "";
});

if (reason === undefined) {
  const { CudaBackend } = await import("@revnet-zero/backend-cuda");
  const backend = new CudaBackend();
  const numLayers = 4;
  const words = Int32Array.from({ length: 16 }, (_, i) => (7 * i) % 11);

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
      const tokens = () => tensor(words, { shape: [2, 8], engine });
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

  /** The gradients of passes that are a graph from the third on, on an engine whose ledger is held to the estimate. */
  function gradientsOfGraph({ plan, inFlightBytes = 0 }: Omit<Kept, "mode">, beforeLast: () => void) {
    const offload = new HostOffload({ inFlightBytes });
    const program = (engine: Engine) => {
      const sizes = { vocabSize: 11, numLayers, dModel: 16, numHeads: 2, maxSeqLen: 8 };
      const model = new ReversibleTransformer({ ...sizes, key: randomKey(3), engine });
      // Copies of both kinds are among them, whatever else.
      model.sequence.plan = { blocks: [...plan!.slice(0, -2), "offload", "swap"] };
      model.sequence.offload = offload;
      const pass = recordedPassOf(model, 1, { graph: true });
      const tokens = () => tensor(words, { shape: [2, 8], engine });
      const step = (): void => {
        model.zeroGrad();
        pass(tokens(), tokens());
      };
      return { model, pass, step };
    };
    const engine = new Engine(backend as Backend);
    const { model, pass, step } = program(engine);
    const steps = 5;
    for (let i = 0; i < steps; i++) {
      if (i === steps - 1) beforeLast();
      engine.scope(step);
    }
    const gradients = model.parameters().map((p) => p.grad!.dataSync());
    expect([pass.reason, ...pass.recordings.map((r) => r.whyNoGraph)]).toEqual([undefined, undefined]);
    const estimate = estimateProgram((on) => program(on).step, { like: backend as Backend, steps, countsFrom: 0 });
    expect(engine.memory().peakBytes).toBe(estimate.peakBytes);
    model.dispose();
    pass.dispose();
    backend.releaseCaches();
    expect([offload.heldBytes, backend.memory().hostBytes, backend.memory().liveBlocks]).toEqual([0, 0, 0]);
    return gradients;
  }

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

  test("passes that copy to the host and back are graphs, in whatever order the edges of a graph leave its nodes", () => {
    const stored = gradientsOf({ mode: "store" }).gradients;
    fc.assert(
      fc.property(plans, fc.nat(1e6), ({ plan, inFlightBytes, late }, order) => {
        process.env.REVNET_STANDIN_LATE = late;
        const inAnyOrder = (): void => {
          process.env.REVNET_STANDIN_GRAPH = String(order);
        };
        expect(gradientsOfGraph({ plan, inFlightBytes }, inAnyOrder)).toEqual(stored);
        process.env.REVNET_STANDIN_GRAPH = "";
      }),
      runs(3),
    );
  });
} else {
  test("offloading on the stand-in driver", (context) => context.skip(reason));
}
