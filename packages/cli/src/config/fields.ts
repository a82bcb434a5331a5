import { reversibleModes } from "@revnet-zero/reversible";
import type { TrainConfig } from "@revnet-zero/train";
import { z } from "zod";

/** All that the command line knows about one key: the schema, the errors, the help and `--print-config` read it here. */
export interface Field<T = unknown> {
  /** What it decides, for people. */
  readonly what: string;
  /** The values it takes, in words. */
  readonly accepts: string;
  /** The same, listed, where there are few. */
  readonly choices?: readonly string[];
  readonly schema: z.ZodType<T>;
  /** A value written on the command line, as a YAML file would give it; what does not parse stays text for the error to show. */
  readonly parse: (text: string) => unknown;
  readonly isSwitch: boolean;
  readonly isOptional: boolean;
}

type RequiredField<T> = Field<T> & { readonly isOptional: false };
type OptionalField<T> = Field<T> & { readonly isOptional: true };

/** One entry a key of the configuration: a key that has none does not compile. */
export type Fields = {
  readonly [S in keyof TrainConfig]: {
    readonly [K in keyof TrainConfig[S]]-?: undefined extends TrainConfig[S][K]
      ? OptionalField<Exclude<TrainConfig[S][K], undefined>>
      : RequiredField<TrainConfig[S][K]>;
  };
};

const required = { isSwitch: false, isOptional: false } as const;

function parseNumber(text: string): unknown {
  return text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

function whole(least: number, what: string, most: number = Number.MAX_SAFE_INTEGER): RequiredField<number> {
  const accepts =
    most === Number.MAX_SAFE_INTEGER ? `a whole number from ${least}` : `a whole number from ${least} to ${most}`;
  return { ...required, what, accepts, schema: z.int().min(least).max(most), parse: parseNumber };
}

/** A number from `least` to below `below`. */
function number(least: number, below: number, what: string): RequiredField<number> {
  const accepts =
    below === Number.POSITIVE_INFINITY ? `a number from ${least}` : `a number from ${least} to below ${below}`;
  return { ...required, what, accepts, schema: z.number().min(least).lt(below), parse: parseNumber };
}

function positive(what: string): RequiredField<number> {
  return { ...required, what, accepts: "a number above 0", schema: z.number().positive(), parse: parseNumber };
}

function choice<const T extends string>(choices: readonly T[], what: string): RequiredField<T> {
  return { ...required, what, accepts: choices.join(", "), choices, schema: z.enum(choices), parse: (text) => text };
}

function text(accepts: string, what: string): RequiredField<string> {
  return { ...required, what, accepts, schema: z.string().min(1), parse: (value) => value };
}

function onOff(what: string): RequiredField<boolean> {
  const parse = (value: string) => (value === "true" ? true : value === "false" ? false : value);
  return { ...required, what, accepts: "true, false", schema: z.boolean(), parse, isSwitch: true };
}

function optional<T>(field: RequiredField<T>): OptionalField<T> {
  return { ...field, isOptional: true };
}

const infinity = Number.POSITIVE_INFINITY;

export const fields: Fields = {
  data: {
    source: text("moby-dick, or the path of a .txt file", "text to train on"),
    heldOutFraction: number(0, 1, "share of the text kept for evaluation"),
  },
  model: {
    numLayers: whole(1, "reversible blocks"),
    dModel: whole(1, "width of the residual stream"),
    numHeads: whole(1, "attention heads"),
    numKeyValueHeads: optional(whole(1, "heads of keys and values; as many as numHeads if left out")),
    maxSeqLen: whole(1, "longest sequence, in bytes"),
    mlpRatio: positive("hidden width of the MLP over its input's"),
    mlp: choice(["gelu", "geglu", "swiglu"], "activation of the MLP"),
    norm: choice(["layer", "rms"], "normalization"),
    positions: choice(["rotary", "learned"], "how the model knows positions"),
    dropout: number(0, 1, "probability of dropping an activation"),
    reversibility: choice(reversibleModes, "where backward gets activations"),
    streams: choice(["full", "split"], "two streams of dModel, or of half of it"),
    tieEmbeddings: onOff("one matrix for inputs and outputs"),
    fractionBits: optional(whole(0, "bits after the point of exact streams; 20 if left out", 30)),
  },
  train: {
    steps: whole(1, "optimizer steps"),
    batchSize: whole(1, "sequences in a micro-batch"),
    microBatches: whole(1, "micro-batches in a step"),
    sequenceLength: whole(1, "bytes in a sequence"),
    seed: whole(0, "decides every random number"),
    precision: choice(["f32", "bf16", "f16"], "what matrix products and attention read"),
    graph: optional(onOff("steps as CUDA graphs: one launch each; false if left out")),
    evalEvery: whole(0, "steps between evaluations; 0: never"),
    evalBatches: whole(1, "batches in an evaluation"),
    checkpointEvery: whole(0, "steps between checkpoints; 0: only the last"),
    keepLast: whole(1, "newest checkpoints kept, beside the best"),
    sampleEvery: whole(0, "steps between text samples; 0: never"),
    sampleLength: whole(1, "bytes in a text sample"),
    logEvery: whole(1, "steps between lines of the log"),
  },
  optimizer: {
    name: choice(["adamw", "sgd", "lion", "adafactor"], "update rule"),
    learningRate: positive("highest learning rate"),
    betas: {
      ...required,
      what: "decay of the running means",
      accepts: "two numbers from 0 to below 1",
      schema: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]),
      parse: (value) =>
        value
          .replace(/^\s*\[|\]\s*$/g, "")
          .split(",")
          .map(parseNumber),
    },
    eps: positive("added to the denominator"),
    weightDecay: number(0, infinity, "decoupled weight decay"),
    momentum: optional(number(0, 1, "momentum of sgd; 0 if left out")),
    nesterov: optional(onOff("Nesterov momentum of sgd; false if left out")),
    clipNorm: number(0, infinity, "longest gradient norm; 0: no limit"),
  },
  schedule: {
    name: choice(["cosine", "linear", "constant"], "course of the learning rate"),
    warmupSteps: whole(0, "steps of linear warm-up"),
    minLearningRateRatio: {
      ...required,
      what: "last learning rate over the highest",
      accepts: "a number from 0 to 1",
      schema: z.number().min(0).max(1),
      parse: parseNumber,
    },
  },
  output: {
    dir: text("the path of a folder", "checkpoints and the report go here"),
  },
};

/** The table for code that walks it. */
export const fieldTable: Readonly<Record<string, Readonly<Record<string, Field>>>> = fields;

/** The field of `section.key`, or undefined. */
export function findField(key: string): Field | undefined {
  const [section = "", name = "", ...rest] = key.split(".");
  if (rest.length > 0 || !Object.hasOwn(fieldTable, section)) return undefined;
  const keys = fieldTable[section] ?? {};
  return Object.hasOwn(keys, name) ? keys[name] : undefined;
}

/** Every `section.key`, in order. */
export const allKeys: readonly string[] = Object.entries(fieldTable).flatMap(([section, keys]) =>
  Object.keys(keys).map((name) => `${section}.${name}`),
);

/** The whole configuration, every key given. */
export const configSchema: z.ZodType<TrainConfig> = z.strictObject(
  mapValues(fieldTable, (keys) =>
    z.strictObject(mapValues(keys, ({ schema, isOptional }) => (isOptional ? z.exactOptional(schema) : schema))),
  ),
) as unknown as z.ZodType<TrainConfig>;

function mapValues<A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
