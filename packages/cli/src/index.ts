export { type CommandLine, parseCommandLine } from "./args.ts";
export { type CommandName, type CommandOptions, commands } from "./commands.ts";
export { ConfigError } from "./config/configError.ts";
export { type ConfigOverride, loadConfig, parseConfig } from "./config/loadConfig.ts";
export { renderConfig } from "./config/renderConfig.ts";
export { renderHelp } from "./help.ts";
export type { Output } from "./output.ts";
export { run } from "./run/index.ts";
export { UsageError } from "./usageError.ts";
