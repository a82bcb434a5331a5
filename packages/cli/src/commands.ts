import { type MemoryStrategy, strategyNames } from "@revnet-zero/memory";
import { byteSizes, parseBytes } from "@revnet-zero/plot";
import type { Precision } from "@revnet-zero/train";

/** One flag of a command. */
export interface OptionSpec<T = unknown> {
  readonly what: string;
  /** How its value is shown in help, like `<file>`; a flag without one is on or off. */
  readonly placeholder?: string;
  readonly accepts: string;
  /** The value of what was typed, or undefined if it is not accepted. */
  readonly parse: (text: string) => T | undefined;
}

export interface OperandSpec {
  readonly name: string;
  readonly what: string;
  readonly isRequired: boolean;
}

export interface CommandSpec<Options = Readonly<Record<string, unknown>>> {
  readonly what: string;
  /** At most one word that is no flag, stored under its name. */
  readonly operand?: OperandSpec;
  /** Whether `--model.numLayers 8` and the like belong to it. */
  readonly takesConfig: boolean;
  readonly options: { readonly [K in Exclude<keyof Options, "config" | "checkpoint">]-?: OptionSpec<Options[K]> };
}

/** What each command is given: its flags by name, and its operand. */
export interface CommandOptions {
  readonly train: OnDevice & {
    readonly config?: string;
    readonly resume?: boolean;
    readonly precision?: Precision;
    readonly graph?: boolean;
    readonly printConfig?: boolean;
    readonly dryRun?: boolean;
    readonly report?: string;
    readonly budget?: number;
    readonly strategy?: MemoryStrategy;
    readonly offload?: OffloadPlace;
  };
  readonly sample: OnDevice & {
    readonly checkpoint: string;
    readonly prompt?: string;
    readonly length?: number;
    readonly temperature?: number;
    readonly topK?: number;
    readonly seed?: number;
  };
  readonly estimate: OnDevice & {
    readonly config?: string;
    readonly printConfig?: boolean;
    readonly budget?: number;
    readonly largest?: VariedSize;
  };
  readonly plan: OnDevice & {
    readonly config?: string;
    readonly printConfig?: boolean;
    readonly budget?: number;
    readonly offload?: OffloadPlace;
    readonly plot?: string;
  };
  readonly check: OnDevice & { readonly config?: string; readonly printConfig?: boolean; readonly seed?: number };
  readonly tune: { readonly config?: string; readonly precision?: Precision; readonly printConfig?: boolean };
  readonly info: { readonly checkpoint?: string };
  readonly demo: { readonly quick?: boolean; readonly out?: string };
}

/** What may be as large as fits. */
export type VariedSize = "batch" | "sequence" | "depth";

/** Where streams of offloaded layers go. */
export type OffloadPlace = "memory" | "disk";

/** What computes. */
export type DeviceName = "cpu" | "cuda";

interface OnDevice {
  readonly device?: DeviceName;
}

export type CommandName = keyof CommandOptions;

const flag = (what: string): OptionSpec<boolean> => ({
  what,
  accepts: "true, false",
  parse: (text) => (text === "true" ? true : text === "false" ? false : undefined),
});

const text = (placeholder: string, what: string): OptionSpec<string> => ({
  what,
  placeholder,
  accepts: "a text",
  parse: (value) => value,
});

const path = (placeholder: string, what: string): OptionSpec<string> => ({
  what,
  placeholder,
  accepts: "a path",
  parse: (value) => (value === "" ? undefined : value),
});

const whole = (placeholder: string, least: number, what: string): OptionSpec<number> => ({
  what,
  placeholder,
  accepts: `a whole number from ${least}`,
  parse: (value) => {
    const number = Number(value);
    return value.trim() !== "" && Number.isSafeInteger(number) && number >= least ? number : undefined;
  },
});

const positive = (placeholder: string, what: string): OptionSpec<number> => ({
  what,
  placeholder,
  accepts: "a number from 0",
  parse: (value) => {
    const number = Number(value);
    return value.trim() !== "" && Number.isFinite(number) && number >= 0 ? number : undefined;
  },
});

const bytes = (placeholder: string, what: string): OptionSpec<number> => ({
  what,
  placeholder,
  accepts: byteSizes,
  parse: parseBytes,
});

const device: OptionSpec<DeviceName> = {
  what: "what computes: cpu, or cuda for an NVIDIA GPU; default REVNET_DEVICE, or cpu",
  placeholder: "<name>",
  accepts: "cpu, cuda",
  parse: (value) => (value === "cpu" || value === "cuda" ? value : undefined),
};

const precision: OptionSpec<Precision> = {
  what: "f32, bf16 or f16: short for --train.precision",
  placeholder: "<type>",
  accepts: "f32, bf16, f16",
  parse: (value) => (value === "f32" || value === "bf16" || value === "f16" ? value : undefined),
};

const offload: OptionSpec<OffloadPlace> = {
  what: "let plans move layers' streams to memory outside the engine, or to a file",
  placeholder: "<place>",
  accepts: "memory, disk",
  parse: (value) => (value === "memory" || value === "disk" ? value : undefined),
};

const configOperand: OperandSpec = {
  name: "config",
  what: "a YAML file; defaults where it says nothing, or is left out",
  isRequired: false,
};
const printConfig = flag("print the configuration as YAML, and do nothing else");

/** Every command, once: parsing, help and suggestions read it here. */
export const commands: { readonly [C in CommandName]: CommandSpec<CommandOptions[C]> } = {
  train: {
    what: "Train a model on a text.",
    operand: configOperand,
    takesConfig: true,
    options: {
      resume: flag("go on from the latest checkpoint in output.dir"),
      precision,
      graph: flag("run whole steps as CUDA graphs: short for --train.graph"),
      printConfig,
      dryRun: flag("check the configuration, tell the memory a step needs, and train nothing"),
      report: path("<file>", "where the HTML report goes; default report.html in output.dir"),
      budget: bytes("<size>", "train within so much memory, by the fastest plan that fits"),
      strategy: {
        what: "plan again before every pass, by what passes took: a memory scheduler's strategy",
        placeholder: "<name>",
        accepts: strategyNames.join(", "),
        parse: (value) => strategyNames.find((name) => name === value),
      },
      offload,
      device,
    },
  },
  sample: {
    what: "Write text with a trained model.",
    operand: { name: "checkpoint", what: "a run's folder, or one checkpoint of it", isRequired: true },
    takesConfig: false,
    options: {
      prompt: text("<text>", "what the text begins with"),
      length: whole("<bytes>", 1, "bytes to write; default 300"),
      temperature: positive("<number>", "0 takes the likeliest byte always; default 0.8"),
      topK: whole("<count>", 1, "choose among so many likeliest bytes; default all"),
      seed: whole("<number>", 0, "decides the choices; default 1"),
      device,
    },
  },
  estimate: {
    what: "Tell the memory of a training step without running it.",
    operand: configOperand,
    takesConfig: true,
    options: {
      printConfig,
      budget: bytes("<size>", "say what fits into so much memory, like 8GiB"),
      largest: {
        what: "find how large this may be within the budget",
        placeholder: "<what>",
        accepts: "batch, sequence, depth",
        parse: (value) => (value === "batch" || value === "sequence" || value === "depth" ? value : undefined),
      },
      device,
    },
  },
  plan: {
    what: "Find the fastest way to keep or rebuild each layer's activations within a memory budget.",
    operand: configOperand,
    takesConfig: true,
    options: {
      printConfig,
      budget: bytes("<size>", "most memory that a step may need; without it the fastest plan is shown"),
      offload,
      plot: path("<file>", "draw time against memory into an .svg or .html file"),
      device,
    },
  },
  check: {
    what: "Prove on this machine that gradients are bit for bit those of stored backpropagation.",
    operand: configOperand,
    takesConfig: true,
    options: { printConfig, seed: whole("<number>", 0, "decides weights and batch; default 1"), device },
  },
  tune: {
    what: "Time the kernels that a training step may use on this GPU, and keep which are the fastest.",
    operand: configOperand,
    takesConfig: true,
    options: { precision, printConfig },
  },
  info: {
    what: "Show versions, devices and limits of this machine, or what a checkpoint holds.",
    operand: { name: "checkpoint", what: "a run's folder, or one checkpoint of it", isRequired: false },
    takesConfig: false,
    options: {},
  },
  demo: {
    what: "Train, prove and report in a few minutes, with nothing to prepare.",
    takesConfig: true,
    options: {
      quick: flag("a smaller model and fewer steps: under a minute"),
      out: path("<folder>", "where the report goes; default runs/demo"),
    },
  },
};

/** The table for code that walks it. */
export const commandTable: Readonly<Record<string, CommandSpec>> = commands as unknown as Readonly<
  Record<string, CommandSpec>
>;
