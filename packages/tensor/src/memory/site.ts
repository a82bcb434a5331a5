/** Calls that are looked through: an op of a branch of a block of a model lies deep. */
const DEPTH = 60;

/** The innermost line of the call stack outside of the engine, and of files whose paths contain `inside`. Takes some microseconds. */
export function callSite(inside = "/tensor/"): string {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = DEPTH;
  const { stack = "" } = new Error();
  Error.stackTraceLimit = before;
  const lines = stack.split("\n").filter((line) => /:\d+:\d+\)?$/.test(line));
  const caller = lines.find((line) => !line.includes("/tensor/") && !line.includes(inside));
  return caller?.trim().replace("file://", "") ?? "unknown place";
}
