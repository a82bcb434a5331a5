import type { TrainConfig } from "./config.ts";

/** What must hold between values of a configuration each of which is in its own range. */
export interface ConfigRule {
  /** The values it is about, as `section.key`, the one to change first. */
  readonly keys: readonly string[];
  /** What to do where the rule is broken; undefined where it holds. */
  readonly check: (config: TrainConfig) => string | undefined;
}

export interface BrokenRule {
  readonly keys: readonly string[];
  /** The values as they are: `model.dModel is 100, model.numHeads is 3`. */
  readonly problem: string;
  readonly hint: string;
}

/** Width that a block works on: one stream's. */
const blockWidth = ({ model }: TrainConfig): number => (model.streams === "split" ? model.dModel / 2 : model.dModel);

/** A micro-batch is a JavaScript array of 32-bit indices, whole: 1 GiB. */
const MOST_BYTES_IN_BATCH = 2 ** 28;

export const configRules: readonly ConfigRule[] = [
  {
    keys: ["model.dModel", "model.streams"],
    check: ({ model }) =>
      model.streams === "split" && model.dModel % 2 !== 0
        ? "split streams take half of dModel each: make it even"
        : undefined,
  },
  {
    keys: ["model.dModel", "model.numHeads", "model.streams"],
    check: (config) => {
      const width = blockWidth(config);
      const { numHeads } = config.model;
      if (!Number.isInteger(width) || width % numHeads === 0) return undefined;
      const scale = config.model.streams === "split" ? 2 : 1;
      return `the heads share ${width} channels equally: dModel ${roundTo(width, numHeads) * scale} works with ${numHeads} heads`;
    },
  },
  {
    keys: ["model.positions", "model.dModel", "model.numHeads"],
    check: (config) => {
      const headWidth = blockWidth(config) / config.model.numHeads;
      if (config.model.positions !== "rotary" || !Number.isInteger(headWidth) || headWidth % 2 === 0) return undefined;
      return `rotary positions turn pairs of channels, and a head has ${headWidth}: change dModel or numHeads, or use learned`;
    },
  },
  {
    keys: ["model.mlpRatio", "model.dModel", "model.streams"],
    check: (config) => {
      const width = blockWidth(config);
      return !Number.isInteger(width) || Math.round(width * config.model.mlpRatio) > 0
        ? undefined
        : `no channel would be left in the MLP: use a ratio of at least 1 / ${width}`;
    },
  },
  {
    keys: ["model.numKeyValueHeads", "model.numHeads"],
    check: ({ model: { numHeads, numKeyValueHeads = numHeads } }) =>
      numHeads % numKeyValueHeads === 0
        ? undefined
        : `each serves equally many of the ${numHeads} heads: use a divisor`,
  },
  {
    keys: ["train.sequenceLength", "model.maxSeqLen"],
    check: ({ model, train }) =>
      train.sequenceLength <= model.maxSeqLen
        ? undefined
        : `use a sequenceLength of at most ${model.maxSeqLen}, or raise model.maxSeqLen`,
  },
  {
    keys: ["train.batchSize", "train.sequenceLength"],
    check: ({ train: { batchSize, sequenceLength } }) =>
      batchSize * sequenceLength <= MOST_BYTES_IN_BATCH
        ? undefined
        : `a micro-batch has at most ${MOST_BYTES_IN_BATCH} bytes of text: use more microBatches instead`,
  },
  {
    keys: ["schedule.warmupSteps", "train.steps"],
    check: ({ schedule, train }) =>
      schedule.warmupSteps <= train.steps ? undefined : `the warm-up would never end: at most ${train.steps} steps`,
  },
  {
    keys: ["train.evalEvery", "data.heldOutFraction"],
    check: ({ train, data }) =>
      train.evalEvery === 0 || data.heldOutFraction > 0
        ? undefined
        : "there is no held-out text to evaluate on: set evalEvery to 0, or heldOutFraction to 0.1",
  },
  {
    keys: ["optimizer.momentum", "optimizer.name"],
    check: ({ optimizer: { name, momentum } }) =>
      momentum === undefined || name === "sgd" ? undefined : "only sgd has it (others have betas): leave it out",
  },
  {
    keys: ["optimizer.nesterov", "optimizer.name", "optimizer.momentum"],
    check: ({ optimizer: { name, momentum = 0, nesterov = false } }) =>
      !nesterov || (name === "sgd" && momentum > 0) ? undefined : "only sgd with momentum has it: set it to false",
  },
];

/** The rules that a configuration breaks; none if it can be trained. */
export function brokenRules(config: TrainConfig): BrokenRule[] {
  return configRules.flatMap(({ keys, check }) => {
    const hint = check(config);
    if (hint === undefined) return [];
    const problem = keys.map((key) => `${key} is ${String(valueAt(config, key) ?? "left out")}`).join(", ");
    return [{ keys, problem, hint }];
  });
}

function valueAt(config: TrainConfig, key: string): unknown {
  const [section = "", name = ""] = key.split(".");
  return (config as unknown as Record<string, Record<string, unknown>>)[section]?.[name];
}

function roundTo(value: number, multiple: number): number {
  return Math.max(1, Math.round(value / multiple)) * multiple;
}
