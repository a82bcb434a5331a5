import { cp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Bench } from "./commandLine.ts";

describe("a word that is not known is refused with the one that was meant", () => {
  test("as a command", async () => {
    const bench = await Bench.open();
    expect(await bench.refusal("trian @config.yaml")).toMatchInlineSnapshot(`
      "UsageError: revnet-zero: there is no command "trian"
        hint: the commands are train, sample, estimate, check, info, demo; did you mean "train"?
      status 2"
    `);
  });

  test("as a flag", async () => {
    const bench = await Bench.open();
    expect(await bench.refusal("train @config.yaml --resmue")).toMatchInlineSnapshot(`
      "UsageError: train: unknown flag --resmue
        hint: \`revnet-zero train --help\` lists the flags; did you mean "--resume"?
      status 2"
    `);
    expect(await bench.refusal("train @config.yaml --modle.numLayers 3")).toMatchInlineSnapshot(`
      "UsageError: train: unknown flag --modle.numLayers
        hint: \`revnet-zero train --help\` lists the flags; did you mean "--model.numLayers"?
      status 2"
    `);
  });

  test("as a key of the configuration, with file and line", async () => {
    const bench = await Bench.open();
    await bench.write("typo.yaml", "data:\n  heldOutFraction: 0.2\noptimizer:\n  learning_rate: 0.01\n");
    expect(await bench.refusal("train @typo.yaml")).toMatchInlineSnapshot(`
      "ConfigError: <folder>/typo.yaml: 1 problem in the configuration
        line 4: unknown key optimizer.learning_rate
          did you mean "learningRate"? known here: name, learningRate, betas, eps, weightDecay, momentum, nesterov, clipNorm
        hint: --print-config shows every key, its meaning and its default
      status 2"
    `);
  });
});

describe("a configuration that cannot be used is refused before anything is made", () => {
  test("for values of a wrong type", async () => {
    const bench = await Bench.open();
    await bench.write("typed.yaml", "model:\n  numLayers: two\n  tieEmbeddings: 1\n");
    expect(await bench.refusal("train @typed.yaml")).toMatchInlineSnapshot(`
      "ConfigError: <folder>/typed.yaml: 2 problems in the configuration
        line 2: model.numLayers is "two"
          accepted: a whole number from 1
        line 3: model.tieEmbeddings is 1
          accepted: true, false
        hint: --print-config shows every key, its meaning and its default
      status 2"
    `);
  });

  test("for values out of range, in the file and in a flag", async () => {
    const bench = await Bench.open({ model: { dropout: 1.5 } });
    expect(await bench.refusal("train @config.yaml --train.steps 0")).toMatchInlineSnapshot(`
      "ConfigError: <folder>/config.yaml: 2 problems in the configuration
        line 6: model.dropout is 1.5
          accepted: a number from 0 to below 1
        --train.steps: train.steps is 0
          accepted: a whole number from 1
        hint: --print-config shows every key, its meaning and its default
      status 2"
    `);
  });

  test("for values that do not go together", async () => {
    const bench = await Bench.open();
    expect(await bench.refusal("estimate @config.yaml --model.numHeads 3")).toMatchInlineSnapshot(`
      "ConfigError: <folder>/config.yaml: 1 problem in the configuration
        line 3: model.dModel is 8, model.numHeads is 3, model.streams is full
          the heads share 8 channels equally: dModel 9 works with 3 heads
        hint: --print-config shows every key, its meaning and its default
      status 2"
    `);
  });

  test("for a file that is missing", async () => {
    const bench = await Bench.open();
    expect(await bench.refusal("train @missing.yaml")).toMatchInlineSnapshot(`
      "ConfigError: <folder>/missing.yaml: 1 problem in the configuration
        <folder>/missing.yaml: there is no such file
          name a YAML file; \`revnet-zero train --print-config > config.yaml\` makes one
        hint: --print-config shows every key, its meaning and its default
      status 2"
    `);
    expect(await bench.refusal("train @config.yaml/missing.yaml")).toMatchInlineSnapshot(`
      "ConfigError: <folder>/config.yaml/missing.yaml: 1 problem in the configuration
        <folder>/config.yaml/missing.yaml: cannot be read (ENOTDIR: not a directory, open '<folder>/config.yaml/missing.yaml')
          name a YAML file; \`revnet-zero train --print-config > config.yaml\` makes one
        hint: --print-config shows every key, its meaning and its default
      status 2"
    `);
  });

  test("for a file that is no YAML", async () => {
    const bench = await Bench.open();
    await bench.write("malformed.yaml", "model: { numLayers: 2\ntrain: 3\n");
    expect(await bench.refusal("check @malformed.yaml")).toMatchInlineSnapshot(`
      "ConfigError: <folder>/malformed.yaml: 1 problem in the configuration
        line 2, column 1: Flow map in block collection must be sufficiently indented and end with a }
          YAML is \`key: value\`, one a line, indented by spaces
        hint: --print-config shows every key, its meaning and its default
      status 2"
    `);
  });
});

describe("a text that cannot be trained on is refused", () => {
  test("when it is missing", async () => {
    const bench = await Bench.open();
    expect(await bench.refusal("train @config.yaml --data.source no.txt")).toMatchInlineSnapshot(`
      "DataError: loadText: there is no file "no.txt" in <here>
        hint: check the path; "moby-dick" is the text that comes with RevNet-Zero
      status 1"
    `);
    expect(await bench.refusal("train @config.yaml --data.source @no.txt")).toMatchInlineSnapshot(`
      "DataError: loadText: there is no file "<folder>/no.txt" in <here>
        hint: check the path; "moby-dick" is the text that comes with RevNet-Zero
      status 1"
    `);
  });

  test("when it is empty", async () => {
    const bench = await Bench.open();
    await bench.write("empty.txt", "");
    expect(await bench.refusal("train @config.yaml --data.source @empty.txt")).toMatchInlineSnapshot(`
      "DataError: loadText: "<folder>/empty.txt" is empty
        hint: training needs some text; a few hundred kilobytes is a start
      status 1"
    `);
  });

  test("when it is shorter than a sequence, also by check", async () => {
    const bench = await Bench.open();
    await bench.write("short.txt", "Call me.");
    expect(await bench.refusal("train @config.yaml --data.source @short.txt")).toMatchInlineSnapshot(`
      "DataError: ByteDataset: the training part has 7 bytes, and a sequence needs 9 (sequenceLength and the next byte)
        hint: use a longer text, or a sequenceLength of at most 6
      status 1"
    `);
    expect(await bench.refusal("check @config.yaml --data.source @short.txt")).toMatchInlineSnapshot(`
      "DataError: ByteDataset: the training part has 7 bytes, and a sequence needs 9 (sequenceLength and the next byte)
        hint: use a longer text, or a sequenceLength of at most 6
      status 1"
    `);
  });
});

describe("a place that cannot be written to is refused before training", () => {
  test("for the run's folder", async () => {
    const bench = await Bench.open();
    expect(await bench.refusal("train @config.yaml --output.dir @text.txt/run")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/text.txt/run: the folder cannot be created (ENOTDIR: not a directory, mkdir '<folder>/text.txt/run')
        hint: choose a folder that this user may create and write to
      status 1"
    `);
    expect(await bench.refusal("train @config.yaml --output.dir @text.txt")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/text.txt: the folder cannot be created (EEXIST: file already exists, mkdir '<folder>/text.txt')
        hint: choose a folder that this user may create and write to
      status 1"
    `);
  });
});

/** A bench with checkpoints of steps 3 and 6. */
async function trained(): Promise<Bench> {
  const bench = await Bench.open();
  const { status, error } = await bench.run("train @config.yaml");
  expect(status, error).toBe(0);
  return bench;
}

describe("a checkpoint that cannot be gone on from is refused", () => {
  test("when there is none", async () => {
    const bench = await Bench.open();
    expect(await bench.refusal("train @config.yaml --resume")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run: there is no checkpoint in this folder
        hint: check the path; a checkpoint is a folder named like step-000100
      status 1"
    `);
    expect(await bench.refusal("sample @run")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run: there is no checkpoint in this folder
        hint: check the path; a checkpoint is a folder named like step-000100
      status 1"
    `);
    expect(await bench.refusal("info @run/step-000009")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run: there is no checkpoint in this folder
        hint: check the path; a checkpoint is a folder named like step-000100
      status 1"
    `);
  });

  test("when a file of it is cut short", async () => {
    const bench = await trained();
    const file = bench.path("run", "step-000006", "model.safetensors");
    await truncate(file, (await stat(file)).size - 10);
    expect(await bench.refusal("train @config.yaml --resume")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run/step-000006/model.safetensors: has 17726 bytes, and was saved with 17736
        hint: <folder>/run/step-000003 is intact: load step 3, or remove <folder>/run/step-000006 to make it the latest
      status 1"
    `);
    expect(await bench.refusal("sample @run")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run/step-000006/model.safetensors: has 17726 bytes, and was saved with 17736
        hint: <folder>/run/step-000003 is intact: load step 3, or remove <folder>/run/step-000006 to make it the latest
      status 1"
    `);
  });

  test("when a bit of it changed", async () => {
    const bench = await trained();
    const file = bench.path("run", "step-000006", "optimizer.safetensors");
    const bytes = await readFile(file);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(file, bytes);
    expect(await bench.refusal("train @config.yaml --resume")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run/step-000006/optimizer.safetensors: its bytes changed since it was saved (SHA-256 differs)
        hint: <folder>/run/step-000003 is intact: load step 3, or remove <folder>/run/step-000006 to make it the latest
      status 1"
    `);
    await rm(bench.path("run", "step-000003", "trainer.json"));
    expect(await bench.refusal("train @config.yaml --resume")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run/step-000006/optimizer.safetensors: its bytes changed since it was saved (SHA-256 differs)
        hint: no older checkpoint in <folder>/run is intact; restore the file from a copy, or train anew
      status 1"
    `);
  });

  test("wherever a bit of it changed, and the intact one before it is named", async () => {
    const bench = await trained();
    const files = ["config.json", "model.safetensors", "optimizer.safetensors", "trainer.json"];
    const broken = bench.path("run", "step-000006");
    await cp(broken, bench.path("intact"), { recursive: true });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...files), fc.nat(), fc.nat(7), async (name, at, bit) => {
        const bytes = await readFile(bench.path("intact", name));
        bytes[at % bytes.length]! ^= 1 << bit;
        await writeFile(`${broken}/${name}`, bytes);
        for (const command of ["train @config.yaml --resume", "sample @run", "info @run/step-000006"]) {
          const shown = await bench.refusal(command);
          expect(shown).toContain(`<folder>/run/step-000006/${name}: its bytes changed since it was saved`);
          expect(shown).toContain(
            "hint: <folder>/run/step-000003 is intact: load step 3, or remove <folder>/run/step-000006",
          );
          expect(shown).toMatch(/status 1$/);
        }
        await cp(bench.path("intact", name), `${broken}/${name}`);
      }),
      runs(20),
    );
    expect(await bench.run("train @config.yaml --resume")).toMatchObject({ status: 0 });
  });

  test("when it is of another seed or text", async () => {
    const bench = await trained();
    const resume = "train @config.yaml --resume";
    expect(await bench.refusal(`${resume} --train.seed 2`)).toMatchInlineSnapshot(`
      "ValueError: resume: <folder>/run/step-000006 was trained with seed 1 and 20 fraction bits, the configuration has 2 and 20
        hint: resume with the values of the checkpoint's config.json
      status 1"
    `);
    await bench.write("other.txt", "It was the best of times, it was the worst of times. ".repeat(9));
    expect(await bench.refusal(`${resume} --data.source @other.txt`)).toMatchInlineSnapshot(`
      "ValueError: resume: <folder>/run/step-000006 was trained on another text: of 2824 bytes, hash 4ddac48c; this one has 477 bytes, hash f387aa34
        hint: resume with the text it was trained on as data.source
      status 1"
    `);
  });
});

test("a value that only the command can know to be wrong is refused by it", async () => {
  const bench = await trained();
  expect(await bench.refusal("sample @run --prompt=")).toMatchInlineSnapshot(`
    "ValueError: generate: the prompt is empty
      hint: give at least one token to continue
    status 1"
  `);
});
