import { basename, dirname } from "node:path";
import { decodeBytes, encodeBytes } from "@revnet-zero/data";
import { type Checkpoint, CheckpointStore } from "@revnet-zero/io";
import { generate } from "@revnet-zero/models";
import { randomKey } from "@revnet-zero/tensor";
import { buildModel, fromEntries } from "@revnet-zero/train";
import type { CommandOptions } from "../commands.ts";
import { parseConfig } from "../config/loadConfig.ts";
import { type Output, printText } from "../output.ts";
import { openEngine } from "./session.ts";

/** The newest checkpoint of a run's folder, or the one whose own folder is named. */
export function openCheckpoint(path: string): Promise<Checkpoint> {
  const step = /^step-(\d+)$/.exec(basename(path))?.[1];
  return step === undefined
    ? CheckpointStore.reader(path).load("latest")
    : CheckpointStore.reader(dirname(path)).load(Number(step));
}

export async function sample(options: CommandOptions["sample"], output: Output): Promise<number> {
  const { prompt = "The ", length = 300, temperature = 0.8, topK, seed = 1 } = options;
  const checkpoint = await openCheckpoint(options.checkpoint);
  // JSON is YAML: the checkpoint's configuration is checked like any other.
  const config = parseConfig(JSON.stringify(checkpoint.config), checkpoint.path);
  const engine = openEngine(options.device);
  const model = buildModel(config.model, config.train.seed, engine);
  engine.scope(() => model.loadStateDict(fromEntries(checkpoint.model, engine)));
  const tokens = await generate(model, encodeBytes(prompt), {
    length,
    temperature,
    key: randomKey(seed),
    ...(topK === undefined ? {} : { topK }),
  });
  printText(output, prompt + decodeBytes(tokens));
  return 0;
}
