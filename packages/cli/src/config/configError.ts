import { RevNetError } from "@revnet-zero/tensor";

/** One thing wrong with a configuration. */
export interface ConfigProblem {
  /** Where it was written: `line 3`, `--model.mlp`, or `default`. */
  readonly where: string;
  readonly problem: string;
  /** The values that work, or what to do. */
  readonly remedy: string;
}

/** A configuration that cannot be used; lists everything wrong with it at once. */
export class ConfigError extends RevNetError {
  override name = "ConfigError";
  readonly problems: readonly ConfigProblem[];
  constructor(source: string, problems: readonly ConfigProblem[], options?: ErrorOptions) {
    const lines = problems.map(({ where, problem, remedy }) => `\n  ${where}: ${problem}\n    ${remedy}`).join("");
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    super(
      source,
      `${count} in the configuration${lines}`,
      "--print-config shows every key, its meaning and its default",
      options,
    );
    this.problems = problems;
  }
}
