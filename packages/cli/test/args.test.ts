import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseCommandLine } from "../src/args.ts";
import { commandTable } from "../src/commands.ts";
import { allKeys, findField } from "../src/config/fields.ts";
import { UsageError } from "../src/usageError.ts";

const names = Object.keys(commandTable);
const line = (text: string) => parseCommandLine(text.split(" ").filter((word) => word !== ""));
const run = (text: string) => {
  const parsed = line(text);
  if (parsed.kind !== "run") return expect.unreachable(`${text} is not run`);
  return parsed;
};

describe("help and version", () => {
  test("are found wherever they are asked for", () => {
    for (const text of ["", "--help", "-h", "help"]) expect(line(text)).toMatchObject({ kind: "help" });
    for (const text of ["--version", "-v", "version"]) expect(line(text)).toEqual({ kind: "version" });
    for (const name of names) {
      for (const text of [`${name} --help`, `${name} -h`, `help ${name}`]) {
        expect(line(text)).toMatchObject({ kind: "help", text: expect.stringContaining(`revnet-zero ${name}`) });
      }
    }
  });

  test("name every command and every flag, in at most 120 columns", () => {
    const program = line("--help") as { text: string };
    for (const name of names) {
      expect(program.text).toContain(`  ${name} `);
      const { text } = line(`${name} --help`) as { text: string };
      for (const option of Object.keys(commandTable[name]!.options))
        expect(text.replaceAll("-", "").toLowerCase()).toContain(option.toLowerCase());
      for (const key of commandTable[name]!.takesConfig ? allKeys : []) expect(text).toContain(`--${key} `);
      expect(Math.max(...text.split("\n").map((row) => row.length))).toBeLessThanOrEqual(120);
    }
  });
});

describe("flags", () => {
  test("of a command", () => {
    expect(run("train run.yaml --resume --report out.html")).toEqual({
      kind: "run",
      command: "train",
      options: { config: "run.yaml", resume: true, report: "out.html" },
      overrides: [],
    });
    expect(run("sample runs/a --top-k 5 --temperature=0 --length 10").options).toEqual({
      checkpoint: "runs/a",
      topK: 5,
      temperature: 0,
      length: 10,
    });
    expect(run("train --no-resume").options).toEqual({ resume: false });
    expect(run("train -- --odd-name.yaml").options).toEqual({ config: "--odd-name.yaml" });
    expect(run("estimate --budget 1.5GiB").options).toEqual({ budget: 1.5 * 2 ** 30 });
    expect(run("estimate --budget 500MB").options).toEqual({ budget: 5e8 });
  });

  test("of the configuration, as typed values", () => {
    const { overrides } = run(
      "train --model.numLayers 8 --train.steps=100 --model.tieEmbeddings --no-optimizer.nesterov " +
        "--optimizer.betas 0.9,0.99 --data.source 1984 --model.mlp=swiglu --optimizer.learningRate 3e-4 --train.seed -1",
    );
    expect(overrides).toEqual([
      { key: "model.numLayers", value: 8, flag: "--model.numLayers" },
      { key: "train.steps", value: 100, flag: "--train.steps" },
      { key: "model.tieEmbeddings", value: true, flag: "--model.tieEmbeddings" },
      { key: "optimizer.nesterov", value: false, flag: "--no-optimizer.nesterov" },
      { key: "optimizer.betas", value: [0.9, 0.99], flag: "--optimizer.betas" },
      { key: "data.source", value: "1984", flag: "--data.source" },
      { key: "model.mlp", value: "swiglu", flag: "--model.mlp" },
      { key: "optimizer.learningRate", value: 0.0003, flag: "--optimizer.learningRate" },
      // Out of range: loadConfig says so.
      { key: "train.seed", value: -1, flag: "--train.seed" },
    ]);
    expect(run("train --model.tieEmbeddings=false").overrides).toMatchObject([{ value: false }]);
  });

  test("any of the configuration's, with = or a space, any value", () => {
    const values = fc.string().filter((value) => !value.startsWith("-"));
    fc.assert(
      fc.property(fc.constantFrom(...allKeys), values, fc.boolean(), (key, value, isInline) => {
        const field = findField(key)!;
        const isJoined = isInline || field.isSwitch;
        const parsed = parseCommandLine(["train", ...(isJoined ? [`--${key}=${value}`] : [`--${key}`, value])]);
        expect(parsed).toMatchObject({ overrides: [{ key, value: field.parse(value) }] });
      }),
    );
  });
});

describe("what is wrong is named, with what was meant", () => {
  test.for([
    ["trian", 'there is no command "trian"', 'did you mean "train"?'],
    [
      "--model.numLayers 8",
      '"--model.numLayers" comes before a command',
      "train, sample, estimate, plan, check, tune, info, demo",
    ],
    ["help me", 'there is no command "me"', "the commands are"],
    ["train --resmue", "unknown flag --resmue", 'did you mean "--resume"?'],
    ["train --model.numLayer 8", "unknown flag --model.numLayer", 'did you mean "--model.numLayers"?'],
    ["train --numLayers 8", "unknown flag --numLayers", 'did you mean "--model.numLayers"?'],
    ["train --printConfig", "unknown flag --printConfig", 'did you mean "--print-config"?'],
    ["train --no-model.numLayers", "unknown flag --no-model.numLayers", "revnet-zero train --help"],
    ["sample runs --model.numLayers 8", "unknown flag --model.numLayers", "revnet-zero sample --help"],
    ["train -x", "unknown flag -x", "lists the flags"],
    ["train --precision bf8", '--precision is "bf8"', "accepted: f32, bf16, f16"],
    ["train --report", "--report needs a value", "a path, as in --report <file>"],
    ["train --data.source --train.steps 5", "--data.source needs a value", "moby-dick"],
    ["train --model.mlp", "--model.mlp needs a value", "gelu, geglu, swiglu, as in --model.mlp gelu"],
    ["train --report=", '--report is ""', "accepted: a path"],
    ["train a.yaml b.yaml", '"b.yaml" is one word too many', "train takes one config"],
    ["demo now", '"now" is one word too many', "no words beside flags"],
    ["sample", "the checkpoint is missing", "revnet-zero sample <checkpoint>"],
    ["sample runs --length 0", '--length is "0"', "accepted: a whole number from 1"],
    ["sample runs --temperature hot", '--temperature is "hot"', "a number from 0"],
    ["estimate --budget 3XB", '--budget is "3XB"', "2GB (10^9), 1.5GiB (2^30), 500MB or 4096"],
    ["train --resume=maybe", '--resume is "maybe"', "true, false"],
    ["train --no-resume=true", "--no-resume=true says it twice", "write --no-resume alone"],
  ] as const)("%s", ([text, problem, hint]) => {
    let error: unknown;
    try {
      line(text);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(UsageError);
    expect((error as UsageError).message).toContain(problem);
    expect((error as UsageError).hint).toContain(hint);
  });

  test("any words are read or refused with a UsageError", () => {
    const words = fc.oneof(
      fc.string(),
      fc.constantFrom("--", "-", "--=", "--no-", "--__proto__", "--constructor=1", "--model", "-hx", "--help=1"),
      fc.constantFrom(...allKeys.map((key) => `--${key}`)),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...names, "__proto__", "toString"),
        fc.array(words, { maxLength: 5 }),
        (name, rest) => {
          try {
            parseCommandLine([name, ...rest]);
          } catch (error) {
            expect(error).toBeInstanceOf(UsageError);
            expect((error as UsageError).hint).toBeTruthy();
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
