import type { Precision } from "@revnet-zero/train";
import type { ConfigOverride } from "./loadConfig.ts";

/** Flags that are short for a key of the configuration: `--precision bf16` for `--train.precision bf16`. */
export interface ShortFlags {
  readonly precision?: Precision | undefined;
  readonly graph?: boolean | undefined;
}

const keys: { readonly [F in keyof ShortFlags]-?: string } = { precision: "train.precision", graph: "train.graph" };

export const withShortFlags = (overrides: readonly ConfigOverride[], given: ShortFlags): readonly ConfigOverride[] => [
  ...overrides,
  ...Object.entries(keys).flatMap(([flag, key]) => {
    const value = given[flag as keyof ShortFlags];
    return value === undefined ? [] : [{ key, value, flag: `--${flag}` }];
  }),
];
