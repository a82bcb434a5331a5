import { readdir } from "node:fs/promises";
import { CpuBackend } from "@revnet-zero/backend-cpu";
import { encodeBytes } from "@revnet-zero/data";
import { Engine } from "@revnet-zero/tensor";
import { describe, expect, test } from "vitest";
import { buildModel, buildSchedule, runKey } from "../src/build.ts";
import type { TrainEvents } from "../src/events.ts";
import { computeGradients } from "../src/step.ts";
import type { Trainer } from "../src/trainer.ts";
import { bitsOf, type Changes, smallConfig, smallTrainer, stateOf, temporaryStore, text } from "./smallRun.ts";

/** Notes every event as `name step`. */
function record(trainer: Trainer): string[] {
  const seen: string[] = [];
  const names: (keyof TrainEvents)[] = ["step", "evaluation", "sample", "checkpoint", "warning"];
  for (const name of names) trainer.on(name, ({ step }) => seen.push(`${name} ${step}`));
  return seen;
}

describe("events", () => {
  test("come in order: the step, its evaluation, its sample, its checkpoint; at the last step all of them", async () => {
    const train = { steps: 5, evalEvery: 2, sampleEvery: 3, checkpointEvery: 4 };
    const trainer = smallTrainer({ train }, { store: await temporaryStore() });
    const seen = record(trainer);
    const result = await trainer.run();
    expect(seen).toEqual([
      "step 1",
      "step 2",
      "evaluation 2",
      "step 3",
      "sample 3",
      "step 4",
      "evaluation 4",
      "checkpoint 4",
      "step 5",
      "evaluation 5",
      "sample 5",
      "checkpoint 5",
    ]);
    expect(result).toEqual({ step: 5, isInterrupted: false, checkpoint: expect.objectContaining({ step: 5 }) });
  });

  test("are none but steps where everything else is off, and nothing is saved without a store", async () => {
    const trainer = smallTrainer({ train: { steps: 3 } });
    const seen = record(trainer);
    expect(await trainer.run()).toEqual({ step: 3, isInterrupted: false, checkpoint: undefined });
    expect(seen).toEqual(["step 1", "step 2", "step 3"]);
  });

  test("say what is true", async () => {
    const trainer = smallTrainer({ train: { evalEvery: 3, sampleEvery: 6 }, optimizer: { clipNorm: 0 } });
    const steps: TrainEvents["step"][] = [];
    const evaluations: number[] = [];
    const samples: TrainEvents["sample"][] = [];
    trainer.on("step", (e) => steps.push(e));
    trainer.on("evaluation", ({ heldOutLoss }) => evaluations.push(heldOutLoss));
    trainer.on("sample", (e) => samples.push(e));
    await trainer.run();
    const schedule = buildSchedule(trainer.config);
    expect(steps.map((e) => e.learningRate)).toEqual([0, 1, 2, 3, 4, 5].map(schedule));
    expect(steps.map((e) => [e.step, e.loss])).toEqual(trainer.history.train);
    for (const { timeMs, tokensPerSecond, gradientNorm, peakBytes } of steps) {
      expect(tokensPerSecond * timeMs).toBeCloseTo(16_000, 6);
      expect(gradientNorm).toBeGreaterThan(0);
      expect(peakBytes).toBeLessThanOrEqual(trainer.peakBytes);
    }
    expect(steps.at(-1)!.peakBytes).toBe(trainer.peakBytes);
    expect(evaluations.at(-1)).toBe(await trainer.evaluate());
    expect(trainer.history.heldOut).toEqual([3, 6].map((step, i) => [step, evaluations[i]]));
    expect(samples).toEqual([{ step: 6, prompt: "The ", text: await trainer.sample() }]);
    // The first loss is what the first batch costs with the first parameters.
    const model = buildModel(trainer.config.model, 1, new Engine(new CpuBackend()));
    const first = computeGradients(model, [trainer.data.batchAt(0)], { key: runKey(1, "steps"), step: 0, clipNorm: 0 });
    expect(steps[0]!.loss).toBe(await first.loss.item());
    expect(steps[0]!.gradientNorm).toBe(await first.norm.item());
  });

  test("stop reaching a listener that was taken off, also by itself", async () => {
    const trainer = smallTrainer({ train: { steps: 4 } });
    const seen: number[] = [];
    const off = trainer.on("step", ({ step }) => {
      seen.push(step);
      if (step === 2) off();
    });
    await trainer.run();
    expect(seen).toEqual([1, 2]);
  });

  test("change nothing of the run, however much is looked at", async () => {
    const quiet = smallTrainer({ model: { dropout: 0.1 } });
    await quiet.run();
    const watched = smallTrainer({ model: { dropout: 0.1 }, train: { evalEvery: 1, sampleEvery: 1 } });
    await watched.run();
    expect(await bitsOf(watched.model.stateDict())).toEqual(await bitsOf(quiet.model.stateDict()));
    expect(watched.history.train).toEqual(quiet.history.train);
  });
});

describe("a run", () => {
  test("is the same bits every time, and others with another seed", async () => {
    const states = await Promise.all(
      [1, 1, 2].map(async (seed) => {
        const trainer = smallTrainer({ model: { dropout: 0.1 }, train: { seed } });
        await trainer.run();
        return stateOf(trainer);
      }),
    );
    expect(states[1]).toEqual(states[0]);
    expect(states[2]).not.toEqual(states[0]);
  });

  test("learns: the loss falls below the entropy of guessing", async () => {
    const changes: Changes = {
      model: { dModel: 16 },
      train: { steps: 150, batchSize: 4, sequenceLength: 16 },
      optimizer: { learningRate: 0.02 },
    };
    const trainer = smallTrainer(changes);
    const before = await trainer.evaluate();
    await trainer.run();
    expect(before).toBeGreaterThan(5);
    expect(await trainer.evaluate()).toBeLessThan(2);
  });

  test("stops after the step at which its signal is aborted, saves, and says so", async () => {
    const store = await temporaryStore();
    const trainer = smallTrainer({}, { store });
    const controller = new AbortController();
    trainer.on("step", ({ step }) => step === 2 && controller.abort());
    expect(await trainer.run({ signal: controller.signal })).toEqual({
      step: 2,
      isInterrupted: true,
      checkpoint: await store.latest(),
    });
    expect((await store.latest())?.step).toBe(2);
    // An aborted signal before the first step: nothing is done, and the start is saved.
    const none = smallTrainer({}, { store: await temporaryStore() });
    expect(await none.run({ signal: AbortSignal.abort() })).toMatchObject({ step: 0, isInterrupted: true });
    // The interrupted trainer itself can go on as well.
    expect(await trainer.run()).toMatchObject({ step: 6, isInterrupted: false });
  });

  test("lets timers run between its steps, so that an interrupt is noticed", async () => {
    const trainer = smallTrainer({ train: { steps: 10_000 } });
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 100);
    const { step, isInterrupted } = await trainer.run({ signal: controller.signal });
    expect(isInterrupted).toBe(true);
    expect(step).toBeLessThan(10_000);
  });

  test("notices its signal between the batches of an evaluation, saves, and begins with that evaluation when it goes on", async () => {
    const changes: Changes = {
      train: { steps: 4, batchSize: 1, evalEvery: 2, evalBatches: 20, checkpointEvery: 2 },
      data: { heldOutFraction: 0.5 },
    };
    const whole = smallTrainer(changes);
    await whole.run();
    for (const batches of [1, 2, 19]) {
      const store = await temporaryStore();
      const trainer = smallTrainer(changes, { store });
      const controller = new AbortController();
      let losses = 0;
      trainer.engine.trace.listen(({ op }) => {
        if (op !== "crossEntropy" || trainer.step !== 2) return;
        losses++;
        if (losses === batches) controller.abort();
      });
      const seen = record(trainer);
      const { signal } = controller;
      expect(await trainer.run({ signal })).toMatchObject({ step: 2, isInterrupted: true });
      expect(losses).toBe(batches);
      expect(seen).toEqual(["step 1", "step 2", "checkpoint 2"]);
      const resume = await store.load("latest");
      expect([resume.step, resume.metric]).toEqual([2, undefined]);

      // Interrupted once more, then let go: the run that was never stopped.
      const again = smallTrainer(changes, { store, resume });
      expect(await again.run({ signal })).toMatchObject({ step: 2, isInterrupted: true });
      for (const rest of [trainer, again]) {
        const went = record(rest);
        expect(await rest.run()).toMatchObject({ step: 4, isInterrupted: false });
        const next = ["evaluation 2", "checkpoint 2", "step 3", "step 4", "evaluation 4", "checkpoint 4"];
        expect(went).toEqual(next);
        expect(await stateOf(rest)).toEqual(await stateOf(whole));
      }
    }
  });

  test("is not through when the signal leaves out its last evaluation", async () => {
    const store = await temporaryStore();
    const changes: Changes = { train: { steps: 2, evalEvery: 2 } };
    const trainer = smallTrainer(changes, { store });
    const controller = new AbortController();
    trainer.on("step", ({ step }) => step === 2 && controller.abort());
    expect(await trainer.run({ signal: controller.signal })).toMatchObject({ step: 2, isInterrupted: true });
    const resumed = smallTrainer(changes, { store, resume: await store.load("latest") });
    expect(await resumed.run()).toMatchObject({ step: 2, isInterrupted: false });
    expect(resumed.history.heldOut).toHaveLength(1);
    expect(await store.load("latest")).toMatchObject({ metric: resumed.history.heldOut[0]![1] });
  });

  test("lets timers run between the batches of an evaluation", async () => {
    const changes: Changes = { train: { batchSize: 1, evalBatches: 100_000 }, data: { heldOutFraction: 0.5 } };
    const trainer = smallTrainer(changes, { text: encodeBytes("the whale ".repeat(20_000)) });
    const controller = new AbortController();
    let batches = 0;
    trainer.engine.trace.listen(({ op }) => {
      if (op === "crossEntropy") batches++;
    });
    setTimeout(() => controller.abort(), 100);
    const { signal } = controller;
    await expect(trainer.evaluate({ signal })).rejects.toThrow("This operation was aborted");
    expect(batches).toBeLessThan(trainer.data.heldOutWindows);
  });

  test("without held-out text is never evaluated", async () => {
    const trainer = smallTrainer({ data: { heldOutFraction: 0 }, train: { evalEvery: 1 } });
    const seen = record(trainer);
    await trainer.run();
    expect(seen.filter((event) => event.startsWith("evaluation"))).toEqual([]);
  });

  test("frees everything when it is disposed", async () => {
    const trainer = smallTrainer({ train: { evalEvery: 2, sampleEvery: 2 } });
    await trainer.run();
    trainer.dispose();
    expect(trainer.engine.memory().liveBytes).toBe(0);
    expect(trainer.engine.liveTensors).toBe(0);
  });
});

describe("checkpoints", () => {
  test("are the last k and the best: the one whose own held-out loss is lowest", async () => {
    const store = await temporaryStore(2);
    // A learning rate that grows too large: the best state is an early one.
    const changes: Changes = {
      train: { steps: 12, evalEvery: 2, checkpointEvery: 1 },
      optimizer: { learningRate: 3, clipNorm: 0 },
      schedule: { warmupSteps: 12 },
    };
    const trainer = smallTrainer(changes, { store });
    await trainer.run();
    const [bestStep] = trainer.history.heldOut.reduce((a, b) => (b[1] < a[1] ? b : a));
    expect(bestStep).toBeLessThan(10);
    expect((await store.list()).map(({ step }) => step)).toEqual([bestStep, 11, 12]);
    expect((await store.best())?.step).toBe(bestStep);
    expect((await store.load("best")).metric).toBe(trainer.history.heldOut.find(([step]) => step === bestStep)![1]);
  });

  test("carry no held-out loss that was measured in another state", async () => {
    const store = await temporaryStore(9);
    await smallTrainer({ train: { evalEvery: 4, checkpointEvery: 1 } }, { store }).run();
    const metrics = await Promise.all([1, 2, 3, 4, 5, 6].map(async (step) => (await store.load(step)).metric));
    expect(metrics.map((metric) => metric !== undefined)).toEqual([false, false, false, true, false, true]);
  });

  test("lie alone in their folder, whole", async () => {
    const store = await temporaryStore();
    await smallTrainer({ train: { checkpointEvery: 2 } }, { store }).run();
    expect((await readdir(store.dir)).sort()).toEqual(["step-000002", "step-000004", "step-000006"]);
  });
});

describe("micro-batches", () => {
  /** Gradients of the first step by name. */
  async function gradients(batches: readonly { inputs: Int32Array; targets: Int32Array }[]) {
    const config = smallConfig();
    const model = buildModel(config.model, 1, new Engine(new CpuBackend()));
    const sized = batches.map((b) => ({ ...b, batchSize: b.inputs.length / 8, sequenceLength: 8 }));
    const { loss } = computeGradients(model, sized, { key: runKey(1, "steps"), step: 0, clipNorm: 0 });
    const found = new Map<string, Float64Array>();
    for (const [name, p] of model.namedParameters()) found.set(name, Float64Array.from(await p.grad!.data()));
    return { loss: await loss.item(), found };
  }

  test("give the loss and the gradient of one large batch, up to the rounding of four more additions", async () => {
    const { data } = smallTrainer();
    const parts = [0, 1, 2, 3].map((micro) => data.batchAt(0, micro));
    const join = (key: "inputs" | "targets") => Int32Array.from(parts.flatMap((part) => [...part[key]]));
    const accumulated = await gradients(parts);
    const large = await gradients([{ inputs: join("inputs"), targets: join("targets") }]);
    expect(Math.abs(accumulated.loss - large.loss)).toBeLessThan(8 * 2 ** -24 * large.loss);
    const norm = (values: Float64Array) => Math.hypot(...values);
    for (const [name, g] of large.found) {
      const difference = g.map((value, i) => value - accumulated.found.get(name)![i]!);
      // Sums round to 2^-24 of their terms, and terms that cancel are larger than the gradient.
      expect(norm(difference), name).toBeLessThan(2 ** -17 * norm(g));
    }
  });

  test("of a run draw other text and other masks each", async () => {
    const { data } = smallTrainer();
    expect(data.batchAt(0, 0).inputs).not.toEqual(data.batchAt(0, 1).inputs);
    const same = data.batchAt(0);
    const model = buildModel({ ...smallConfig().model, dropout: 0.5 }, 1, new Engine(new CpuBackend()));
    const lossOf = (step: number, count: number): Promise<number> =>
      computeGradients(model, Array(count).fill(same), { key: runKey(1, "steps"), step, clipNorm: 0 }).loss.item();
    const one = await lossOf(0, 1);
    expect(await lossOf(0, 1)).toBe(one);
    expect(await lossOf(1, 1)).not.toBe(one);
    expect(await lossOf(0, 2)).not.toBe(one);
  });
});

describe("clipping and schedule", () => {
  test("the norm told is the one before clipping, and the step is that of the clipped gradient", async () => {
    const sgd = { name: "sgd", learningRate: 1, weightDecay: 0 } as const;
    const schedule = { name: "constant", warmupSteps: 0 } as const;
    const run = async (clipNorm: number) => {
      const trainer = smallTrainer({ optimizer: { ...sgd, clipNorm }, schedule, train: { steps: 1 } });
      const before = new Map<string, Float64Array>();
      for (const [name, p] of trainer.model.namedParameters()) before.set(name, Float64Array.from(await p.data()));
      let norm = 0;
      trainer.on("step", (e) => {
        norm = e.gradientNorm;
      });
      await trainer.run();
      const moved: number[] = [];
      for (const [name, p] of trainer.model.namedParameters()) {
        (await p.data()).forEach((value, i) => {
          moved.push(value - before.get(name)![i]!);
        });
      }
      return { norm, moved: Math.hypot(...moved) };
    };
    const free = await run(0);
    expect(free.norm).toBeGreaterThan(0.1);
    // Differences of parameters of size 1 are known to 2^-24.
    expect(free.moved).toBeCloseTo(free.norm, 5);
    const clipped = await run(0.1);
    expect(clipped.norm).toBe(free.norm);
    expect(clipped.moved).toBeCloseTo(0.1, 5);
    const loose = await run(1000);
    expect(loose).toEqual(free);
  });

  test.for([
    ["cosine", [0.005, 0.01, 0.01, 0.0098, 0.00924, 0.00835, 0.00724, 0.006]],
    ["linear", [0.005, 0.01, 0.01, 0.0092, 0.0084, 0.0076, 0.0068, 0.006]],
    ["constant", [0.005, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]],
  ] as const)("the %s schedule begins after the warm-up", ([name, expected]) => {
    const train = { steps: 12 };
    const schedule = buildSchedule(smallConfig({ schedule: { name, minLearningRateRatio: 0.2 }, train }));
    expect(expected.map((_, step) => Number(schedule(step).toPrecision(3)))).toEqual(expected);
    // Halfway between 0.01 and 0.2 of it, then there.
    if (name !== "constant") expect(schedule(12)).toBeCloseTo(0.002, 12);
  });
});

describe("memory", () => {
  const changes: Changes = { model: { dropout: 0.1 }, train: { microBatches: 2, evalEvery: 1, sampleEvery: 2 } };

  test.for(["exact", "float", "store", "checkpoint"] as const)(
    "is after every step, evaluation and sample in mode %s what it was before, once the optimizer has its state",
    async (reversibility) => {
      const trainer = smallTrainer({ ...changes, model: { ...changes.model, reversibility } });
      const { engine } = trainer;
      const seen: { bytes: number; handles: number; buffers: number }[] = [];
      const note = () =>
        seen.push({
          bytes: engine.memory().liveBytes,
          handles: engine.liveTensors,
          buffers: engine.memory().liveBuffers,
        });
      // Inside a step its loss is alive still: this looks after it.
      trainer.on("evaluation", note);
      trainer.on("sample", note);
      await trainer.run();
      expect(seen).toHaveLength(9);
      expect(new Set(seen.map((entry) => JSON.stringify(entry)))).toHaveLength(1);
      const { live } = engine.memory();
      expect(live).toMatchObject({ gradients: 0, streams: 0, saved: 0, workspace: 0 });
    },
  );

  test("does not grow over 50 steps: neither bytes, nor buffers, nor the peak of a step", async () => {
    const trainer = smallTrainer({ train: { steps: 50, evalEvery: 10 } });
    const { engine } = trainer;
    const peaks: number[] = [];
    const after: string[] = [];
    trainer.on("step", () => peaks.push(engine.memory().peakBytes));
    trainer.on("evaluation", () => after.push(`${engine.memory().liveBytes} ${engine.memory().liveBuffers}`));
    await trainer.run();
    // The first step makes the optimizer's state, the second is recorded, the others run the recording.
    expect(new Set(peaks.slice(2)).size).toBe(1);
    expect(peaks[2]).toBeLessThanOrEqual(peaks[1]!);
    expect(after).toHaveLength(5);
    expect(new Set(after).size).toBe(1);
    expect(engine.storages.size).toBe(engine.memory().liveBuffers);
  });

  test("is what it was when a step fails", async () => {
    const trainer = smallTrainer();
    const before = trainer.engine.memory();
    trainer.on("step", () => {
      throw new Error("a listener's own");
    });
    await expect(trainer.run()).rejects.toThrow("a listener's own");
    const { live } = trainer.engine.memory();
    expect(live).toEqual({ ...before.live, optimizer: live.optimizer });
  });
});

test("a text too short for one sequence is refused before a model is made", () => {
  const engine = new Engine(new CpuBackend());
  expect(() => smallTrainer({ train: { sequenceLength: 16 } }, { engine, text: text.subarray(0, 18) })).toThrow(
    /the training part has 16 bytes, and a sequence needs 17.*\n {2}hint: use a longer text, or a sequenceLength of at most 15/,
  );
  expect(engine.memory().liveBytes).toBe(0);
});
