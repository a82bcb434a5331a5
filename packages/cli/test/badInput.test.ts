import { readdir } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { Bench } from "./commandLine.ts";

describe("a word that is not known is refused with the one that was meant", () => {
  test("as a command", async () => {
    const bench = await Bench.open();
    expect(await bench.refusal("trian @config.yaml")).toMatchInlineSnapshot(`
      "UsageError: revnet-zero: there is no command "trian"
        hint: the commands are train, sample, estimate, plan, check, tune, info, demo; did you mean "train"?
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
      "DataError: loadText: there is no file "<folder>/no.txt"
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

  test("for the report", async () => {
    const bench = await Bench.open();
    expect(await bench.refusal("train @config.yaml --report @text.txt/report.html")).toMatchInlineSnapshot(`
      "UsageError: --report: <folder>/text.txt/report.html cannot be written (EEXIST: file already exists, mkdir '<folder>/text.txt')
        hint: choose a path that this user may write to
      status 2"
    `);
    expect(await bench.refusal("train @config.yaml --report @")).toMatchInlineSnapshot(`
      "UsageError: --report: <folder>/ is a folder
        hint: name a file, like report.html
      status 2"
    `);
  });

  test("for a run where one is already", async () => {
    const bench = await Bench.open();
    await bench.run("train @config.yaml");
    const before = await readdir(bench.path("run"));
    expect(await bench.refusal("train @config.yaml --train.steps 2")).toMatchInlineSnapshot(`
      "UsageError: train: there is a run in <folder>/run already, its latest checkpoint of step 6
        hint: go on with it by --resume, or give this one a folder by --output.dir
      status 2"
    `);
    expect(await readdir(bench.path("run"))).toEqual(before);
  });
});

test("a value that only the command can know to be wrong is refused by it", async () => {
  const bench = await Bench.open();
  await bench.run("train @config.yaml");
  expect(await bench.refusal("sample @run --prompt=")).toMatchInlineSnapshot(`
    "ValueError: generate: the prompt is empty
      hint: give at least one token to continue
    status 1"
  `);
});
