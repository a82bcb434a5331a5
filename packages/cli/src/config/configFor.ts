import type { Precision, TrainConfig } from "@revnet-zero/train";
import type { Output } from "../output.ts";
import { type ConfigOverride, loadConfig } from "./loadConfig.ts";
import { withPrecision } from "./precision.ts";
import { renderConfig } from "./renderConfig.ts";

interface Options {
  readonly config?: string | undefined;
  readonly printConfig?: boolean | undefined;
  readonly precision?: Precision | undefined;
}

/** The configuration that a command works on; undefined where it was only to be printed, which is then done. */
export async function configFor(
  { config: path, printConfig, precision }: Options,
  overrides: readonly ConfigOverride[],
  { out }: Output,
): Promise<TrainConfig | undefined> {
  const config = await loadConfig(path, withPrecision(overrides, precision));
  if (!printConfig) return config;
  out.write(renderConfig(config));
  return undefined;
}
