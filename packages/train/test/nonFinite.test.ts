import { CpuBackend } from "@revnet-zero/backend-cpu";
import { Engine, type Tensor, tensor } from "@revnet-zero/tensor";
import { wrapBackend } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import type { TrainerState } from "../src/checkpointState.ts";
import type { TrainEvents } from "../src/events.ts";
import { TrainError } from "../src/trainError.ts";
import type { Trainer } from "../src/trainer.ts";
import { bitsOf, type Changes, smallTrainer, stateOf, temporaryStore } from "./smallRun.ts";

/** Changes a parameter by hand. */
function change({ model, engine }: Trainer, name: string, to: (parameter: Tensor) => Tensor): void {
  const parameter = model.namedParameters().get(name)!;
  engine.scope(() => engine.noGrad(() => parameter.assign(to(parameter))));
}

/** Puts a value in place of the first number of a parameter. */
const poison = (trainer: Trainer, name: string, value: number): void =>
  change(trainer, name, (p) => {
    const values = new Float32Array(p.size);
    values[0] = value;
    return p.add(tensor(values, { shape: p.shape, engine: p.engine }));
  });

/** Does harm after a step, and gives the error with which the run ends. */
async function failureOf(trainer: Trainer, harm: () => void = () => {}, after = 2): Promise<TrainError> {
  trainer.on("step", ({ step }) => {
    if (step === after) harm();
  });
  const error = await trainer.run().then(
    () => expect.unreachable("the run ended well"),
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(TrainError);
  return error;
}

const up = "sequence.blocks.1.G.mlp.up.weight";
const qkv = "sequence.blocks.1.F.attention.qkv.weight";

describe("a NaN", () => {
  test.for(["exact", "float", "store", "checkpoint"] as const)(
    "in a parameter is found at the next step in mode %s: named, saved, and the run stops",
    async (reversibility) => {
      const store = await temporaryStore();
      const trainer = smallTrainer({ model: { reversibility }, train: { checkpointEvery: 1 } }, { store });
      const steps: number[] = [];
      trainer.on("step", ({ step }) => steps.push(step));
      // Between a checkpoint and the next step.
      trainer.on("checkpoint", ({ step }) => step === 2 && poison(trainer, up, Number.NaN));
      const { step, message } = await failureOf(trainer);
      expect(steps).toEqual([1, 2]);
      expect(step).toBe(2);
      const { path } = (await store.latest())!;
      // Fixed-point streams take a NaN increment for zero: the loss is finite.
      const what = reversibility === "float" ? "loss" : "gradient norm";
      expect(message.replaceAll(path, "<checkpoint>")).toBe(
        `train: step 2: the ${what} is NaN: parameter ${up} is not finite; the state after 2 steps is saved in <checkpoint>
  hint: lower optimizer.learningRate or optimizer.clipNorm, or lengthen schedule.warmupSteps, remove <checkpoint>, and continue with --resume from the checkpoint before it`,
      );
      expect((await store.list()).map((folder) => folder.step)).toEqual([1, 2]);
    },
  );

  test("in the first step is said in the singular", async () => {
    const trainer = smallTrainer({}, { store: await temporaryStore() });
    const { message } = await failureOf(trainer, () => poison(trainer, up, Number.NaN), 1);
    expect(message).toContain("; the state after 1 step is saved in ");
  });

  test("that a layer makes of finite parameters is named with op and layer, the state is saved, and can be resumed", async () => {
    const store = await temporaryStore();
    const trainer = smallTrainer({}, { store });
    const { message } = await failureOf(trainer, () => change(trainer, qkv, (p) => p.mul(1e30)));
    const saved = await store.load("latest");
    // Which output and element shows it first depends on the backend's kernels.
    const shown = message.replaceAll(saved.path, "<checkpoint>").replace(/output .* in Rev/, "<output> in Rev");
    expect(shown).toMatchInlineSnapshot(`
      "train: step 2: the gradient norm is NaN: attention: <output> in ReversibleTransformer.sequence.blocks.1.F.attention; the state after 2 steps is saved in <checkpoint>
        hint: lower optimizer.learningRate or optimizer.clipNorm, or lengthen schedule.warmupSteps, and continue with --resume"
    `);
    const bits = await bitsOf(trainer.model.stateDict());
    expect(saved.model.size).toBe(Object.keys(bits).length);
    for (const [name, { data }] of saved.model) expect(Buffer.from(data).toString("hex")).toBe(bits[name]);
    // Whoever repairs it goes on.
    const repaired = smallTrainer({}, { store, resume: saved });
    change(repaired, qkv, (p) => p.mul(1e-30));
    expect(await repaired.run()).toMatchObject({ step: 6, isInterrupted: false });
  });

  test("of the backward pass is named with its op and the gradient nearest the loss", async () => {
    let isHarmed = false;
    const cpu = new CpuBackend();
    const { attentionBackward } = cpu.kernels;
    const harmed: typeof attentionBackward = {
      ...attentionBackward!,
      run: (inputs, outputs, attrs) => {
        attentionBackward!.run(inputs, outputs, attrs);
        if (isHarmed) outputs[0]!.data[4] = Number.NaN;
      },
    };
    const engine = new Engine(wrapBackend(cpu, { kernels: { attentionBackward: harmed as never } }));
    const trainer = smallTrainer({}, { engine });
    const { message } = await failureOf(trainer, () => {
      isHarmed = true;
    });
    expect(message).toMatchInlineSnapshot(`
      "train: step 2: the gradient norm is NaN: attentionBackward: output [2, 2, 8, 4] f32 has NaN at element 4; the gradient of sequence.blocks.1.F.attention.qkv.bias is the one nearest the loss that is not finite
        hint: lower optimizer.learningRate or optimizer.clipNorm, or lengthen schedule.warmupSteps, and train anew"
    `);
  });

  test("of the held-out loss stops the run as well", async () => {
    const store = await temporaryStore();
    const trainer = smallTrainer({ train: { evalEvery: 2 } }, { store });
    const { message, step } = await failureOf(trainer, () =>
      change(trainer, "head.norm.weight", (p) => p.mul(Number.NaN)),
    );
    expect(step).toBe(2);
    expect(message).toMatch(/^train: step 2: the held-out loss is NaN: parameter head\.norm\.weight is not finite; /);
    expect((await store.best())?.step).toBeUndefined();
    const other = smallTrainer({ train: { evalEvery: 2 }, model: { reversibility: "float" } });
    const { message: layer } = await failureOf(other, () => {
      for (const name of [up, up.replace("up", "down")]) change(other, name, (p) => p.mul(1e30));
    });
    expect(layer).toMatch(
      /the held-out loss is NaN: linear: .* in ReversibleTransformer\.sequence\.blocks\.1\.G\.mlp\.down\n/,
    );
  });

  test("of a sample's logits stops the run as well", async () => {
    const store = await temporaryStore();
    const changes: Changes = { train: { evalEvery: 0, sampleEvery: 2 } };
    const trainer = smallTrainer(changes, { store });
    const harm = (): void => change(trainer, "head.norm.weight", (p) => p.mul(Number.NaN));
    const { message, step } = await failureOf(trainer, harm);
    expect(step).toBe(2);
    expect(message).toMatch(
      /^train: step 2: no sample can be drawn: parameter head\.norm\.weight is not finite; the state/,
    );
    const other = smallTrainer({ ...changes, model: { reversibility: "float" } });
    const { message: layer } = await failureOf(other, () => {
      for (const name of [up, up.replace("up", "down")]) change(other, name, (p) => p.mul(1e30));
    });
    expect(layer).toMatch(
      /no sample can be drawn: linear: .* in ReversibleTransformer\.sequence\.blocks\.1\.G\.mlp\.down\n/,
    );
  });

  test("in an increment that no gradient passes is named with its block and branch", async () => {
    const store = await temporaryStore();
    const trainer = smallTrainer({ model: { tieEmbeddings: false } }, { store });
    const { model } = trainer;
    // Only the head is trained: NaN increments count as zero, and everything that is looked at is finite.
    for (const part of [model.embedding, model.sequence]) part.requireGrad(false);
    const { message, step } = await failureOf(trainer, () => poison(trainer, up, Number.NaN));
    expect(step).toBe(3);
    expect(message).toMatch(
      /^train: step 3: \d+ NaN increments, the first in sequence\.blocks\.1\.G; the state after 3 steps is saved in /,
    );
  });

  test("found leaves no gradients, and the checks of the engine as they were", async () => {
    const trainer = smallTrainer();
    await failureOf(trainer, () => change(trainer, qkv, (p) => p.mul(1e30)));
    expect(trainer.engine.checksFinite).toBe(false);
    expect(trainer.engine.memory().live).toMatchObject({ gradients: 0, streams: 0, saved: 0, workspace: 0 });
  });
});

describe("a learning rate of 1e30", () => {
  const names = ["adamw", "sgd", "lion", "adafactor"] as const;
  test.for(names)("stops a run with %s, and says where", async (name) => {
    const store = await temporaryStore();
    const changes: Changes = { optimizer: { name, learningRate: 1e30 }, schedule: { warmupSteps: 0 } };
    const trainer = smallTrainer(changes, { store });
    const { message, step } = await failureOf(trainer);
    expect(message).toMatch(/^train: step \d+: .* is saved in .*\n {2}hint: lower optimizer\.learningRate/);
    expect(message).toMatch(
      /(parameter|in ReversibleTransformer\.|gradient of) ?(sequence|embedding|head)\.[a-zA-Z.\d]+/,
    );
    expect((await store.latest())?.step).toBe(step);
  });
});

describe("streams that leave their range", () => {
  const changes: Changes = { model: { fractionBits: 20 } };

  test("are told once, with the counts of every half-step, and the run goes on", async () => {
    const store = await temporaryStore();
    const trainer = smallTrainer(changes, { store });
    const warnings: TrainEvents["warning"][] = [];
    trainer.on("warning", (warning) => warnings.push(warning));
    trainer.on("step", ({ step }) => {
      if (step === 2) change(trainer, "sequence.blocks.1.F.attention.out.weight", (p) => p.mul(1e10));
    });
    expect(await trainer.run()).toMatchObject({ step: 6, isInterrupted: false });
    expect(warnings).toHaveLength(1);
    const [{ step, message, health }] = warnings as [TrainEvents["warning"]];
    expect(step).toBe(3);
    const { saturated, wrapped } = health!;
    expect(message).toBe(
      `the streams left their range: ${saturated} increments saturated, ${wrapped} sums wrapped; fewer fractionBits give a wider range`,
    );
    expect(saturated).toBeGreaterThan(0);
    // Half-step 2 is F of block 1.
    expect(health!.steps.map((s) => s.step)).toEqual([2]);
    const { counters } = (await store.load("latest")).trainer as TrainerState;
    expect(counters.saturated).toBeGreaterThanOrEqual(saturated);
  });

  test("are rebuilt exactly all the same: mode exact and mode store are one run", async () => {
    const run = async (reversibility: "exact" | "store") => {
      const trainer = smallTrainer({ model: { reversibility, fractionBits: 30 }, optimizer: { learningRate: 0.5 } });
      await trainer.run();
      const { saturated, wrapped } = await trainer.model.sequence.health();
      return { counts: saturated + wrapped, state: await stateOf(trainer) };
    };
    const exact = await run("exact");
    expect(exact.counts).toBeGreaterThan(0);
    expect((await run("store")).state).toEqual(exact.state);
  });
});
