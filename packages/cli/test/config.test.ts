import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brokenRules, defaultConfig, type TrainConfig } from "@revnet-zero/train";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { ConfigError } from "../src/config/configError.ts";
import { allKeys, findField } from "../src/config/fields.ts";
import { type ConfigOverride, loadConfig, parseConfig } from "../src/config/loadConfig.ts";
import { renderConfig } from "../src/config/renderConfig.ts";

const refusal = (text: string, overrides: readonly ConfigOverride[] = []): ConfigError => {
  try {
    parseConfig(text, "run.yaml", overrides);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return error as ConfigError;
  }
  return expect.unreachable("it was accepted");
};

/** The one problem, as `where: problem | remedy`. */
const onlyProblem = (text: string, overrides?: readonly ConfigOverride[]): string => {
  const { problems } = refusal(text, overrides);
  expect(problems).toHaveLength(1);
  return problems.map(({ where, problem, remedy }) => `${where}: ${problem} | ${remedy}`).join();
};

const names = fc.string({ minLength: 1, maxLength: 20, unit: "binary-ascii" });
const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

/** Configurations that break no rule. */
const configs: fc.Arbitrary<TrainConfig> = fc
  .record({
    data: fc.record({ source: names, heldOutFraction: share.map((value) => value * 0.9 + 0.01) }),
    model: fc.record(
      {
        numLayers: fc.integer({ min: 1, max: 64 }),
        dModel: fc.constantFrom(64, 128, 256),
        numHeads: fc.constantFrom(1, 2, 4, 8),
        numKeyValueHeads: fc.constant(1),
        maxSeqLen: fc.integer({ min: 64, max: 4096 }),
        mlpRatio: fc.constantFrom(1, 2.5, 4),
        mlp: fc.constantFrom("gelu", "geglu", "swiglu"),
        norm: fc.constantFrom("layer", "rms"),
        positions: fc.constantFrom("rotary", "learned"),
        dropout: share,
        reversibility: fc.constantFrom("exact", "float", "store", "checkpoint"),
        streams: fc.constantFrom("full", "split"),
        tieEmbeddings: fc.boolean(),
        fractionBits: fc.integer({ min: 1, max: 30 }),
      },
      { requiredKeys: Object.keys(defaultConfig.model) as (keyof typeof defaultConfig.model)[] },
    ),
    train: fc.constant(defaultConfig.train).map((train) => ({ ...train, sequenceLength: 64 })),
    optimizer: fc.record({
      name: fc.constantFrom("adamw", "sgd", "lion", "adafactor"),
      learningRate: fc.double({ min: 1e-9, max: 10, noNaN: true }),
      betas: fc.tuple(share, share),
      eps: fc.double({ min: 1e-30, max: 1, noNaN: true }),
      weightDecay: share,
      clipNorm: share,
    }),
    schedule: fc.constant(defaultConfig.schedule),
    output: fc.record({ dir: names }),
  })
  .filter((config) => brokenRules(config as TrainConfig).length === 0) as fc.Arbitrary<TrainConfig>;

describe("a configuration", () => {
  test("printed and read again is the same", () => {
    fc.assert(
      fc.property(configs, (config) => {
        expect(parseConfig(renderConfig(config), "run.yaml")).toEqual(config);
      }),
    );
  });

  test("written as any YAML is read, and is the same from flags alone", () => {
    fc.assert(
      fc.property(configs, (config) => {
        expect(parseConfig(stringify(config), "run.yaml")).toEqual(config);
        const overrides = allKeys.flatMap((key) => {
          const [section, name] = key.split(".") as [string, string];
          const value = (config as unknown as Record<string, Record<string, unknown>>)[section]?.[name];
          if (value === undefined) return [];
          const typed = Array.isArray(value) ? value.join(",") : String(value);
          return [{ key, value: findField(key)?.parse(typed), flag: `--${key}` }];
        });
        expect(parseConfig("", "flags", overrides)).toEqual(config);
      }),
    );
  });

  test("that says nothing is the default, which breaks no rule", () => {
    for (const text of ["", "# nothing\n", "model:\n  # numLayers: 3\n", "model:\n  numKeyValueHeads:\n", "{}"]) {
      expect(parseConfig(text, "run.yaml")).toEqual(defaultConfig);
    }
  });

  test("takes flags over the file, and the file over defaults", () => {
    const text = "model: { numLayers: 3, dModel: 64 }";
    const config = parseConfig(text, "run.yaml", [{ key: "model.numLayers", value: 9, flag: "--model.numLayers" }]);
    expect(config.model).toEqual({ ...defaultConfig.model, numLayers: 9, dModel: 64 });
  });

  test("that is anything at all is read or refused with a ConfigError", () => {
    const values = fc.oneof(fc.jsonValue(), fc.constantFrom(...[null, [], {}, 0, -1, "", true]));
    const sections = fc.dictionary(fc.constantFrom(...Object.keys(defaultConfig), "__proto__", "x"), values);
    const keys = fc.dictionary(fc.constantFrom(...allKeys.map((key) => key.split(".")[1]!), "__proto__"), values);
    const readsOrRefuses = (text: string) => {
      try {
        parseConfig(text, "run.yaml");
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
        expect((error as Error).message).toMatch(/^run\.yaml: \d+ problems? in the configuration\n.*\n {2}hint: /s);
      }
    };
    fc.assert(fc.property(sections, (value) => readsOrRefuses(JSON.stringify(value))));
    fc.assert(fc.property(keys, (model) => readsOrRefuses(JSON.stringify({ model, optimizer: model, train: model }))));
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."ab:-[]{}\n\t &*!|>'\"#%@,?1 ") }), readsOrRefuses), {
      numRuns: 500,
    });
  });
});

describe("a problem is told with its line, what works, and what was meant", () => {
  test.for([
    ["model:\n  mlp: gelo", 'line 2: model.mlp is "gelo" | accepted: gelu, geglu, swiglu; did you mean "gelu"?'],
    ["model:\n  dropout: 1", "line 2: model.dropout is 1 | accepted: a number from 0 to below 1"],
    ["# a run\n\nmodel:\n  numLayers: 2.5", "line 4: model.numLayers is 2.5 | accepted: a whole number from 1"],
    ["model: { tieEmbeddings: yes }", 'line 1: model.tieEmbeddings is "yes" | accepted: true, false'],
    ["model:\n  numLayers:", "line 2: model.numLayers is empty | accepted: a whole number from 1"],
    ["optimizer:\n  betas: [0.9]", "line 2: optimizer.betas is [0.9] | accepted: two numbers from 0 to below 1"],
    [
      "optimizer:\n  betas:\n    - 0.9\n    - 1.5",
      "line 2: optimizer.betas is [0.9,1.5] | accepted: two numbers from 0",
    ],
    ["optimizer:\n  learningRate: .inf", "line 2: optimizer.learningRate is Infinity | accepted: a number above 0"],
    [
      "model:\n  num_layers: 3",
      'line 2: unknown key model.num_layers | did you mean "numLayers"? known here: numLayers,',
    ],
    ["train:\n  learningRate: 3", 'did you mean "optimizer.learningRate"?'],
    [
      "seed: 3",
      'line 1: unknown key seed | did you mean "train.seed"? known here: data, model, train, optimizer, schedule, output',
    ],
    [
      "modle:\n  mlp: gelu",
      'line 1: unknown key modle | did you mean "model"? known here: data, model, train, optimizer, schedule, output',
    ],
    ["data:\nmodel: 3", "line 2: model is 3 | it is a section of keys: numLayers, dModel,"],
    ["train: [1]", "line 1: train is [1] | it is a section of keys"],
    ["- 1", "line 1: the file holds [1], not sections | the sections are data, model,"],
    ["model:\n  mlp: gelu\n  mlp: geglu", "line 3, column 3: Map keys must be unique | keep one of them"],
    ["model:\n\tmlp: gelu", "line 2, column 1: Tabs are not allowed as indentation"],
    ["model: &m {numLayers: 0}\n", "line 1: model.numLayers is 0"],
  ] as const)("%j", ([text, expected]) => {
    expect(onlyProblem(text)).toContain(expected);
  });

  test("a flag is named instead of a line", () => {
    const flags = [{ key: "model.mlp", value: "gelo", flag: "--model.mlp" }];
    expect(onlyProblem("model:\n  mlp: gelu", flags)).toContain('--model.mlp: model.mlp is "gelo"');
  });

  test("all problems are told at once", () => {
    const { message, problems } = refusal("model:\n  mlp: x\n  norm: y\ntrain:\n  stesp: 3\n");
    expect(problems.map(({ where }) => where)).toEqual(["line 2", "line 3", "line 5"]);
    expect(message).toMatch(/^run\.yaml: 3 problems in the configuration\n {2}line 2: /);
  });

  test("a key that is a list is an unknown key, and nothing is warned of besides", async () => {
    const warnings: Error[] = [];
    const keep = (warning: Error): void => void warnings.push(warning);
    process.on("warning", keep);
    expect(onlyProblem("? [model]\n: 3")).toMatch(/^.*: unknown key \[ ?model ?\] \| known here: data, model,/);
    await new Promise((resolve) => void setImmediate(resolve));
    process.off("warning", keep);
    expect(warnings).toEqual([]);
  });

  test("an expanding alias bomb is refused", () => {
    const lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1]"];
    for (let i = 1; i < 9; i++)
      lines.push(
        `a${i}: &a${i} [${Array(9)
          .fill(`*a${i - 1}`)
          .join()}]`,
      );
    expect(onlyProblem(lines.join("\n"))).toMatch(/alias/i);
  });
});

describe("values that do not go together are refused, at the first that somebody wrote", () => {
  test.for([
    [
      "model:\n  dModel: 130",
      "line 2: model.dModel is 130, model.numHeads is 4, model.streams is full | .*dModel 132 works with 4",
    ],
    [
      "model:\n  streams: split\n  dModel: 132",
      "dModel is 132.* | .*share 66 channels equally: dModel 136 works with 4",
    ],
    ["model:\n  streams: split\n  dModel: 129", "split streams take half of dModel"],
    ["model:\n  numHeads: 128", "line 2: model.positions is rotary.* a head has 1"],
    [
      "model:\n  mlpRatio: 0.001",
      "line 2: model.mlpRatio is 0.001, model.dModel is 128, model.streams is full | no channel .* at least 1 / 128",
    ],
    [
      "train:\n  batchSize: 3000000",
      "line 2: train.batchSize is 3000000, train.sequenceLength is 128 | a micro-batch has at most 268435456 bytes",
    ],
    ["model:\n  numKeyValueHeads: 3", "line 2: model.numKeyValueHeads is 3, model.numHeads is 4"],
    ["train:\n  sequenceLength: 256", "line 2: train.sequenceLength is 256, model.maxSeqLen is 128 | .*at most 128"],
    ["model:\n  maxSeqLen: 64", "line 2: train.sequenceLength is 128, model.maxSeqLen is 64"],
    ["train:\n  steps: 50", "line 2: schedule.warmupSteps is 100, train.steps is 50"],
    ["data:\n  heldOutFraction: 0", "line 2: train.evalEvery is 100, data.heldOutFraction is 0"],
    ["optimizer:\n  momentum: 0.9", "line 2: optimizer.momentum is 0.9, optimizer.name is adamw | only sgd"],
    [
      "optimizer:\n  name: sgd\n  nesterov: true",
      "line 3: optimizer.nesterov is true, .* optimizer.momentum is left out",
    ],
  ] as const)("%j", ([text, expected]) => {
    expect(onlyProblem(text)).toMatch(new RegExp(expected.replace(" | ", " \\| ")));
  });

  test("what works according to a remedy works", () => {
    expect(parseConfig("model: { dModel: 136, streams: split, positions: learned }", "run.yaml").model.dModel).toBe(
      136,
    );
  });
});

describe("loadConfig", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "revnet-config-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test("reads a file, or nothing", async () => {
    await writeFile(join(folder, "run.yaml"), "train:\n  steps: 300\n");
    expect((await loadConfig(join(folder, "run.yaml"))).train.steps).toBe(300);
    expect(await loadConfig(undefined)).toEqual(defaultConfig);
  });

  test("says what to do about a missing file or a folder", async () => {
    await expect(loadConfig(join(folder, "no.yaml"))).rejects.toThrow(
      /there is no such file\n.*--print-config > config\.yaml/,
    );
    await expect(loadConfig(folder)).rejects.toThrow(/is a folder/);
  });
});

test("the printed configuration explains every key, those left out too", () => {
  const text = renderConfig(defaultConfig);
  expect(parse(text)).toEqual(defaultConfig);
  for (const key of allKeys) expect(text).toMatch(new RegExp(`^ {2}(# )?${key.split(".")[1]}:.*  # .+ \\(.+\\)$`, "m"));
  expect(text.split("\n").slice(0, 3)).toEqual([
    "data:",
    "  source: moby-dick     # text to train on (moby-dick, or the path of a .txt file)",
    "  heldOutFraction: 0.1  # share of the text kept for evaluation (a number from 0 to below 1)",
  ]);
});
