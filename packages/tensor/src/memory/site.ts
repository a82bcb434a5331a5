/** The innermost line of the call stack outside of the engine. Takes some microseconds. */
export function callSite(): string {
  const stack = new Error().stack?.split("\n") ?? [];
  return stack.find((line) => line.includes("at ") && !line.includes("/tensor/"))?.trim() ?? "unknown place";
}
