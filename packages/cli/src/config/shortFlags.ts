import type { Precision } from "@revnet-zero/train";
import type { ConfigOverride } from "./loadConfig.ts";

/** `--precision bf16`, short for `--train.precision bf16`. */
export const withPrecision = (
  overrides: readonly ConfigOverride[],
  precision: Precision | undefined,
): readonly ConfigOverride[] =>
  precision === undefined
    ? overrides
    : [...overrides, { key: "train.precision", value: precision, flag: "--precision" }];
