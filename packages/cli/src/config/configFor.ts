import type { TrainConfig } from "@revnet-zero/train";
import type { Output } from "../output.ts";
import { type ConfigOverride, loadConfig } from "./loadConfig.ts";
import { renderConfig } from "./renderConfig.ts";
import { type ShortFlags, withShortFlags } from "./shortFlags.ts";

interface Options extends ShortFlags {
  readonly config?: string | undefined;
  readonly printConfig?: boolean | undefined;
}

/** The configuration that a command works on; undefined where it was only to be printed, which is then done. */
export async function configFor(
  { config: path, printConfig, ...short }: Options,
  overrides: readonly ConfigOverride[],
  { out }: Output,
): Promise<TrainConfig | undefined> {
  const config = await loadConfig(path, withShortFlags(overrides, short));
  if (!printConfig) return config;
  out.write(renderConfig(config));
  return undefined;
}
