import { useStandIn } from "@revnet-zero/backend-cuda/testing";
import { type BlockPolicy, HostOffload } from "@revnet-zero/reversible";
import { Engine, OutOfMemoryError, RevNetError, type Tensor } from "@revnet-zero/tensor";
import {
  applyGradients,
  buildModel,
  buildOptimizer,
  computeGradients,
  defaultConfig,
  recordedPassOf,
  recordedStepOf,
  runKey,
  toTensors,
} from "@revnet-zero/train";
import { describe, expect, test } from "vitest";

// A training step whose n-th call of a function of the driver fails, for every n. The stand-in runs no kernel: a step takes a millisecond.
const reason = useStandIn();
process.env.REVNET_STANDIN_IDLE = "1";
const libraries = process.env.REVNET_CUDA_LIBRARIES;
process.env.REVNET_CUDA_LIBRARIES = `${libraries}:${libraries}/products`;

const plan = (failure: string): void => {
  process.env.REVNET_STANDIN_FAIL = failure;
};

if (reason === undefined) {
  const { CudaBackend } = await import("@revnet-zero/backend-cuda");
  const backend = new CudaBackend();

  type Mode = "exact" | "float" | "store" | "checkpoint";
  const modes = [
    ["exact", {}],
    ["exact", { isRecorded: true, steps: 3 }],
    ["exact", { isRecorded: true, graph: true, steps: 5 }],
    ["exact", { isWhole: true, steps: 3 }],
    ["exact", { isWhole: true, graph: true, steps: 5 }],
    ["float", {}],
    ["store", {}],
    ["checkpoint", {}],
    ["exact", { plan: ["offload", "swap", "offload"] }],
  ] as const satisfies readonly (readonly [Mode, Options])[];

  interface Options {
    readonly isRecorded?: boolean;
    /** Whether the step is recorded as a whole, its update included. */
    readonly isWhole?: boolean;
    /** Whether what is recorded becomes a graph of the device. */
    readonly graph?: boolean;
    /** Those made before one fails. */
    readonly steps?: number;
    /** A policy a layer; by default there is one layer without. */
    readonly plan?: readonly BlockPolicy[];
  }

  /** A model that has made a step, and what a step throws that was made to fail: after it nothing is left. */
  function trainee(reversibility: Mode, options: Options = {}) {
    const { isRecorded = false, isWhole = false, graph = false, steps = 1, plan: blocks } = options;
    const engine = new Engine(backend);
    const sizes = { numLayers: blocks?.length ?? 1, dModel: 32, numHeads: 2, maxSeqLen: 16, dropout: 0.1 };
    const model = buildModel({ ...defaultConfig.model, ...sizes, reversibility }, 1, engine);
    model.sequence.plan = blocks && { blocks };
    model.sequence.offload = new HostOffload({ inFlightBytes: 0 });
    const optimizer = buildOptimizer(model, defaultConfig.optimizer);
    const batch = { inputs: new Int32Array(32), targets: new Int32Array(32), batchSize: 2, sequenceLength: 16 };
    const key = runKey(1, "steps");
    const shared = { clipNorm: 1, precision: "bf16" as const };
    const pass = isRecorded ? { pass: recordedPassOf(model, 1, { ...shared, graph }) } : {};
    const whole = isWhole
      ? recordedStepOf(model, optimizer, { ...shared, graph, learningRate: () => 1e-3 })
      : undefined;
    const called = (): Tensor => {
      const { loss, factor } = computeGradients(model, [batch], { ...shared, ...pass, key, step: 0 });
      applyGradients(optimizer, 1e-3, factor);
      return loss;
    };
    const compute = (): Tensor =>
      whole === undefined ? called() : engine.withKey(key, () => whole(...toTensors(batch, engine))).loss;
    const step = (): void => engine.scope(() => void compute().itemSync());
    for (let n = 0; n < steps; n++) step();
    const held = (): number[] => {
      const { liveBlocks, hostBytes } = backend.memory();
      return [engine.liveTensors, engine.memory().liveBytes, liveBlocks, hostBytes];
    };
    const before = held();
    const failure = (): unknown => {
      // Pinned memory that is there need not be asked for.
      if (blocks !== undefined) backend.releaseCaches();
      let thrown: unknown;
      try {
        step();
      } catch (error) {
        thrown = error;
      }
      plan("");
      process.env.REVNET_STANDIN_MEMORY = "";
      optimizer.zeroGrad();
      // A graph that failed is let go of, with the memory it held.
      if (graph) for (const [i, n] of held().entries()) expect(n).toBeLessThanOrEqual(before[i]!);
      else expect(held()).toEqual(before);
      return thrown;
    };
    const dispose = (): void => {
      for (const one of [pass.pass, whole]) one?.dispose();
      optimizer.dispose();
      model.dispose();
      expect(backend.memory().liveBlocks).toBe(0);
    };
    return { failure, dispose };
  }

  const calls: readonly (readonly [name: string, code: number, hint: string])[] = [
    ["cuLaunchKernel", 1, "see what is missing"],
    ["cuLaunchKernel", 700, "start it again, from the last checkpoint"],
    ["cuMemcpyHtoDAsync_v2", 1, "see what is missing"],
    ["cuMemcpyDtoHAsync_v2", 719, "start it again, from the last checkpoint"],
    ["cublasLtMatmul", 14, "see what is missing"],
    ["cuGraphLaunch", 1, "see what is missing"],
    ["cuMemHostAlloc", 2, ""],
    ["cuEventRecord", 1, "see what is missing"],
    ["cuStreamWaitEvent", 1, "see what is missing"],
  ];
  /** What is only sure to be asked for where tensors are copied to the host. */
  const copying = ["cuMemHostAlloc", "cuEventRecord", "cuStreamWaitEvent"];
  /**
   * Whose failure a step is sure to throw: what a graph holds is called when it is made, and where it is not launched its work is asked for
   * call by call. A whole step as a graph asks for copies alone.
   */
  function isThrown(name: string, { graph = false, isWhole = false, plan }: Options): boolean {
    if (copying.includes(name)) return plan !== undefined;
    if (graph && isWhole) return name.startsWith("cuMemcpy");
    return name !== "cuGraphLaunch" && (name !== "cublasLtMatmul" || !graph);
  }

  describe.each(modes)("a step with activations %s, %o", (mode, options) => {
    test.each(calls)(
      "whose calls of %s fail with %i, one after the other, throws and leaves nothing",
      (name, code, hint) => {
        const { failure, dispose } = trainee(mode, options);
        let failed = 0;
        for (;;) {
          plan(`${name}:${failed + 1}:${code}`);
          const error = failure();
          if (error === undefined) break;
          expect(error).toBeInstanceOf(RevNetError);
          expect((error as RevNetError).hint).toContain(hint);
          failed++;
        }
        if (isThrown(name, options)) expect(failed).toBeGreaterThan(0);
        dispose();
      },
    );

    test("that has too little memory, by whatever it lacks, throws OutOfMemoryError and leaves nothing", () => {
      const { failure, dispose } = trainee(mode, options);
      const { peakReservedBytes } = backend.memory();
      backend.releaseCaches();
      let thrown = 0;
      for (let bytes = backend.memory().reservedBytes; bytes <= peakReservedBytes; bytes += 2 ** 21) {
        backend.releaseCaches();
        process.env.REVNET_STANDIN_MEMORY = String(bytes);
        const error = failure();
        if (error === undefined) continue;
        expect(error).toBeInstanceOf(OutOfMemoryError);
        thrown++;
      }
      expect(thrown).toBeGreaterThan(0);
      expect(failure()).toBeUndefined();
      dispose();
    });
  });

  test.each([{ isRecorded: true }, { isWhole: true }])(
    "a step that fails while it is recorded, at any launch, leaves nothing: %o",
    (options) => {
      let failed = 0;
      for (;;) {
        const { failure, dispose } = trainee("exact", options);
        plan(`cuLaunchKernel:${failed + 1}:1`);
        const error = failure();
        dispose();
        if (error === undefined) break;
        failed++;
      }
      expect(failed).toBeGreaterThan(0);
    },
  );
} else {
  test("failing steps on the stand-in driver", (context) => context.skip(reason));
}
