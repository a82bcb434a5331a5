import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CpuBackend } from "@revnet-zero/backend-cpu";
import { encodeBytes } from "@revnet-zero/data";
import { type Checkpoint, CheckpointStore } from "@revnet-zero/io";
import { reversibleModes } from "@revnet-zero/reversible";
import { Engine, foldKey } from "@revnet-zero/tensor";
import { describe, expect, test } from "vitest";
import { runKey } from "../src/build.ts";
import type { TrainConfig } from "../src/config.ts";
import type { Trainer } from "../src/trainer.ts";
import { type Changes, smallConfig, smallTrainer, stateOf, temporaryStore, text } from "./smallRun.ts";

/** Runs to a step and stops as an interrupt would make it. */
async function runUntil(trainer: Trainer, step: number, at: "step" | "evaluation" = "step"): Promise<void> {
  const controller = new AbortController();
  const off = trainer.on(at, (event) => {
    if (event.step === step) controller.abort();
  });
  await trainer.run({ signal: controller.signal });
  off();
  expect(trainer.step).toBe(step);
}

/** The state after a whole run, and after one that is stopped and resumed at the steps given. */
async function bothWays(changes: Changes, stops: readonly number[]): Promise<[unknown, unknown]> {
  const whole = smallTrainer(changes);
  await whole.run();
  const expected = await stateOf(whole);
  whole.dispose();

  const store = await temporaryStore();
  let resume: Checkpoint | undefined;
  for (const stop of stops) {
    const part = smallTrainer(changes, { store, ...(resume && { resume }) });
    await runUntil(part, stop);
    part.dispose();
    resume = await store.load("latest");
    expect(resume.step).toBe(stop);
  }
  const rest = smallTrainer(changes, { store, ...(resume && { resume }) });
  await rest.run();
  return [await stateOf(rest), expected];
}

const optimizers: readonly Partial<TrainConfig["optimizer"]>[] = [
  { name: "adamw" },
  { name: "lion", learningRate: 0.001 },
  { name: "adafactor" },
  { name: "sgd", learningRate: 0.1 },
  { name: "sgd", learningRate: 0.1, momentum: 0.9, nesterov: true },
];

describe("a run that is stopped and resumed is the run that was not, bit for bit", () => {
  test.for(optimizers)("with %j, dropout and two micro-batches", async (optimizer) => {
    const changes: Changes = { optimizer, model: { ...smallConfig().model, dropout: 0.1 }, train: { microBatches: 2 } };
    const [found, expected] = await bothWays(changes, [3]);
    expect(found).toEqual(expected);
  });

  test.for(reversibleModes)("with %s streams and dropout", async (reversibility) => {
    const changes: Changes = { model: { reversibility, dropout: 0.1 }, train: { microBatches: 2 } };
    const [found, expected] = await bothWays(changes, [2, 5]);
    expect(found).toEqual(expected);
  });

  test("stopped after every single step, with evaluations and samples between", async () => {
    const changes: Changes = { model: { dropout: 0.1 }, train: { evalEvery: 2, sampleEvery: 3 } };
    const [found, expected] = await bothWays(changes, [1, 2, 3, 4, 5]);
    expect(found).toEqual(expected);
  });

  test("with split streams, learned positions, untied embeddings, grouped heads, RMS norm and gated branches", async () => {
    const model = {
      streams: "split",
      positions: "learned",
      tieEmbeddings: false,
      numKeyValueHeads: 1,
      norm: "rms",
      mlp: "swiglu",
      fractionBits: 16,
      dropout: 0.1,
    } as const;
    const [found, expected] = await bothWays({ model }, [4]);
    expect(found).toEqual(expected);
  });

  test("and every mode but float computes the same run", async () => {
    const states = await Promise.all(
      (["exact", "store", "checkpoint"] as const).map(async (reversibility) => {
        const trainer = smallTrainer({ model: { reversibility, dropout: 0.1 } });
        await trainer.run();
        return stateOf(trainer);
      }),
    );
    expect(states[1]).toEqual(states[0]);
    expect(states[2]).toEqual(states[0]);
  });
});

/** A checkpoint of step 3 of 6. */
async function savedAt3(changes: Changes = {}): Promise<Checkpoint> {
  const store = await temporaryStore();
  const trainer = smallTrainer(changes, { store });
  await runUntil(trainer, 3);
  trainer.dispose();
  return store.load("latest");
}

describe("a checkpoint", () => {
  test("holds what exactness needs", async () => {
    const store = await temporaryStore();
    const trainer = smallTrainer({ model: { fractionBits: 18 }, train: { evalEvery: 3 } }, { store });
    await runUntil(trainer, 3, "evaluation");
    const { trainer: state, config, model, optimizer, metric, path } = await store.load("latest");
    const names = [...trainer.model.namedParameters().keys()];
    expect([...model.keys()].sort()).toEqual([...names].sort());
    expect([...optimizer.keys()].sort()).toEqual(
      names.flatMap((name) => [`firstMoment/${name}`, `secondMoment/${name}`]).sort(),
    );
    expect(config).toEqual(trainer.config);
    expect(metric).toBe(trainer.history.heldOut[0]![1]);
    expect(state).toEqual({
      format: 1,
      // The next batch and the next generator keys are functions of seed and step alone.
      step: 3,
      microStep: 0,
      seed: 1,
      fractionBits: 18,
      arithmetic: new CpuBackend().arithmetic,
      text: { bytes: text.length, fnv1a: expect.stringMatching(/^[0-9a-f]{8}$/) },
      optimizer: {
        algorithm: "AdamW",
        step: 3,
        updates: Object.fromEntries(names.map((name) => [name, 3])),
      },
      counters: { saturated: 0, wrapped: 0 },
      history: { train: trainer.history.train, heldOut: trainer.history.heldOut },
    });
    expect(trainer.history.train.map(([step]) => step)).toEqual([1, 2, 3]);
    // Losses are read again as the very numbers they were.
    expect(JSON.parse(await readFile(join(path, "trainer.json"), "utf8")).state.history).toEqual(trainer.history);
  });

  test("gives the next step its batch and generator keys, which are those of no step before", () => {
    const { data, config } = smallTrainer();
    const seen = new Set<string>();
    for (let step = 0; step < 6; step++) {
      for (let micro = 0; micro < 2; micro++) {
        seen.add(foldKey(foldKey(runKey(config.train.seed, "steps"), step), micro).join());
        seen.add(data.batchAt(step, micro).inputs.join());
      }
    }
    expect(seen.size).toBe(24);
  });

  test("of the last step is resumed to nothing more to do", async () => {
    const store = await temporaryStore();
    const trainer = smallTrainer({}, { store });
    const { checkpoint } = await trainer.run();
    const again = smallTrainer({}, { store, resume: await store.load("latest") });
    expect(await again.run()).toEqual({ step: 6, isInterrupted: false, checkpoint });
    expect(await stateOf(again)).toEqual(await stateOf(trainer));
    expect(await store.list()).toHaveLength(1);
  });

  test("counts on what it counted", async () => {
    // Streams of range ±2: increments saturate.
    const changes: Changes = { model: { fractionBits: 30 }, optimizer: { learningRate: 1 } };
    const store = await temporaryStore();
    const trainer = smallTrainer(changes, { store });
    await runUntil(trainer, 5);
    const { counters } = (await store.load("latest")).trainer as { counters: { saturated: number; wrapped: number } };
    expect(counters.saturated + counters.wrapped).toBeGreaterThan(0);
    const rest = smallTrainer(changes, { store, resume: await store.load("latest") });
    const warnings: string[] = [];
    rest.on("warning", ({ message }) => warnings.push(message));
    await rest.run();
    const after = ((await store.load("latest")).trainer as { counters: typeof counters }).counters;
    expect(after.saturated).toBeGreaterThanOrEqual(counters.saturated);
    expect(after.saturated + after.wrapped).toBeGreaterThan(counters.saturated + counters.wrapped);
    // Said once a run, not once a process.
    expect(warnings).toEqual([]);
  });
});

const refusal = (changes: Changes, resume: Checkpoint, options: Parameters<typeof smallTrainer>[1] = {}): string => {
  try {
    smallTrainer(changes, { resume, ...options });
  } catch (error) {
    return (error as Error).message.replaceAll(resume.path, "<checkpoint>");
  }
  return expect.unreachable("it was resumed");
};

describe("what would not be the same run is refused", () => {
  test("another seed, other fraction bits", async () => {
    const resume = await savedAt3();
    expect(refusal({ train: { seed: 2 } }, resume)).toMatchInlineSnapshot(`
      "resume: <checkpoint> was trained with seed 1, the configuration has 2
        hint: resume with the values of the checkpoint's config.json"
    `);
    expect(refusal({ model: { fractionBits: 16 } }, resume)).toMatchInlineSnapshot(`
      "resume: <checkpoint> was trained with 20 fraction bits, the configuration has 16
        hint: resume with the values of the checkpoint's config.json"
    `);
  });

  test("another text, also one of the same length", async () => {
    const resume = await savedAt3();
    const other = text.slice();
    other[100] = 65;
    expect(refusal({}, resume, { text: other })).toMatchInlineSnapshot(`
      "resume: <checkpoint> was trained on another text: of 2824 bytes, hash 4ddac48c; this one has 2824 bytes, hash 6ebb0835
        hint: resume with the text it was trained on as data.source"
    `);
    expect(refusal({}, resume, { text: encodeBytes("Call me Ishmael. ".repeat(20)) })).toMatch(/340 bytes/);
  });

  test("another arithmetic", async () => {
    const here = new CpuBackend();
    const engine = new Engine(
      Object.assign(new CpuBackend(), { arithmetic: "float32 sums in blocks of 32" } as object),
    );
    const message = refusal({}, await savedAt3(), { engine });
    expect(message.replace(here.arithmetic, "<this tier's sums>")).toMatchInlineSnapshot(`
      "resume: <checkpoint> was computed with "<this tier's sums>", this backend computes with "float32 sums in blocks of 32": the run would not continue bit for bit
        hint: resume on the backend it was trained on"
    `);
  });

  test("a model of other sizes, and another optimizer", async () => {
    const resume = await savedAt3();
    expect(refusal({ model: { numLayers: 1, dModel: 4 } }, resume)).toMatchInlineSnapshot(`
      "resume: the configuration does not fit <checkpoint>: model.numLayers was 2 and is 1, model.dModel was 8 and is 4
        hint: resume with the values of the checkpoint's config.json"
    `);
    expect(refusal({ optimizer: { name: "lion" } }, resume)).toMatchInlineSnapshot(`
      "resume: the configuration does not fit <checkpoint>: optimizer.name was "adamw" and is "lion"
        hint: resume with the values of the checkpoint's config.json"
    `);
    const sgd = await savedAt3({ optimizer: { name: "sgd" } });
    expect(refusal({ optimizer: { name: "sgd", momentum: 0.9 } }, sgd)).toMatchInlineSnapshot(`
      "resume: the configuration does not fit <checkpoint>: optimizer.momentum was left out and is 0.9
        hint: resume with the values of the checkpoint's config.json"
    `);
  });

  test("tensors that do not fit the configuration they were saved with", async () => {
    const resume = await savedAt3();
    const model = new Map([...resume.model].slice(1));
    expect(refusal({}, { ...resume, model })).toMatchInlineSnapshot(`
      "loadStateDict: the state does not fit ReversibleTransformer:
          missing: embedding.tokens.weight [256, 8] f32
        hint: build the model with the configuration it was saved with; { strict: false } skips missing and unexpected names"
    `);
  });

  test("a trainer.json that is something else", async () => {
    const resume = await savedAt3();
    for (const trainer of [null, 3, {}, { format: 2, step: 3 }, { ...(resume.trainer as object), step: "3" }]) {
      expect(refusal({}, { ...resume, trainer })).toMatch(/trainer\.json does not hold a trainer's state\n {2}hint: /);
    }
  });

  test("and leaves no tensor behind", async () => {
    const resume = await savedAt3();
    const engine = new Engine(new CpuBackend());
    refusal({ optimizer: { name: "lion" } }, resume, { engine });
    expect(engine.memory().liveBytes).toBe(0);
  });
});

describe("what may be changed on the way", () => {
  const warningsOf = async (changes: Changes, resume: Checkpoint): Promise<string[]> => {
    const trainer = smallTrainer(changes, { resume });
    const warnings: string[] = [];
    trainer.on("warning", ({ step, message }) => warnings.push(`${step}: ${message}`));
    await trainer.run();
    return warnings;
  };

  test("is told in a warning where it changes the steps to come", async () => {
    const changes: Changes = {
      optimizer: { learningRate: 0.005, betas: [0.9, 0.99], clipNorm: 0.5 },
      train: { steps: 8, batchSize: 3 },
      model: { dropout: 0.1, reversibility: "float" },
    };
    expect(await warningsOf(changes, await savedAt3())).toMatchInlineSnapshot(`
      [
        "3: resumed with another configuration, so the run goes on otherwise than it would have: model.dropout was 0 and is 0.1, model.reversibility was "exact" and is "float", train.steps was 6 and is 8, train.batchSize was 2 and is 3, optimizer.learningRate was 0.01 and is 0.005, optimizer.betas was [0.9,0.95] and is [0.9,0.99], optimizer.clipNorm was 1 and is 0.5",
      ]
    `);
  });

  test("is not mentioned where it changes none: when to look, where to write, how to keep activations", async () => {
    const changes: Changes = {
      train: { evalEvery: 2, checkpointEvery: 1, sampleEvery: 2, logEvery: 1, keepLast: 1 },
      output: { dir: "elsewhere" },
      data: { source: "elsewhere.txt" },
      model: { reversibility: "checkpoint", fractionBits: 20 },
    };
    expect(await warningsOf(changes, await savedAt3())).toEqual([]);
  });
});

test("a checkpoint that was moved is resumed from where it lies", async () => {
  const { path, step } = await savedAt3();
  const elsewhere = join(path, "../../moved", "step-000003");
  await mkdir(elsewhere, { recursive: true });
  for (const name of ["config.json", "manifest.json", "model.safetensors", "optimizer.safetensors", "trainer.json"]) {
    await writeFile(join(elsewhere, name), await readFile(join(path, name)));
  }
  const resume = await CheckpointStore.reader(join(elsewhere, "..")).load(step);
  const moved = smallTrainer({}, { resume });
  await moved.run();
  const whole = smallTrainer();
  await whole.run();
  expect(await stateOf(moved)).toEqual(await stateOf(whole));
});
