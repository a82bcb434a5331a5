import { storedTwin } from "@revnet-zero/reversible";
import type { TrainConfig } from "./config.ts";

type Values = Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;

/** Values that change nothing of what is computed (when to look, where to write), or are held to the checkpoint's in other ways. */
const harmless: ReadonlySet<string> = new Set([
  "data.source",
  "model.fractionBits",
  "train.graph",
  "train.evalEvery",
  "train.evalBatches",
  "train.checkpointEvery",
  "train.keepLast",
  "train.sampleEvery",
  "train.sampleLength",
  "train.logEvery",
  "output.dir",
]);

/**
 * The values of a configuration, as `section.key was x and is y`, by which a run that goes on from a checkpoint differs
 * from the run that wrote it. Modes that compute one function bit for bit do not differ.
 */
export function changedKeys(saved: unknown, config: TrainConfig): string[] {
  const before = (saved ?? {}) as Values;
  const now = config as unknown as Values;
  return Object.entries(now).flatMap(([section, keys = {}]) => {
    const old = before[section] ?? {};
    return [...new Set([...Object.keys(old), ...Object.keys(keys)])].flatMap((name) => {
      const key = `${section}.${name}`;
      if (harmless.has(key) || meaning(key, old[name]) === meaning(key, keys[name])) return [];
      // How long a constant rate is kept says nothing about the steps done until then.
      if (key === "train.steps" && config.schedule.name === "constant") return [];
      return [`${key} was ${show(old[name])} and is ${show(keys[name])}`];
    });
  });
}

const show = (value: unknown): string => (value === undefined ? "left out" : JSON.stringify(value));

const meaning = (key: string, value: unknown): string =>
  key === "model.reversibility" ? storedTwin(value as Parameters<typeof storedTwin>[0]) : show(value);
