import { format, inspect } from "node:util";

const tidy = (text: string): string => text.replaceAll("'", '"').replace(/\s+/g, " ").trim();

/** Whether a text is what was promised, up to white space and the kind of quotes; `...` in the promise stands for anything. */
export function matches(text: string, promise: string): boolean {
  const parts = tidy(promise).split("...");
  const escaped = parts.map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${escaped.join("[\\s\\S]*")}$`).test(tidy(text));
}

/** Called by a compiled example after each statement with `// =>`; throws where the promise is not kept. */
export async function check(run: () => Promise<unknown>, promise: string, isPrinted: boolean): Promise<void> {
  let found: string[];
  try {
    const value = await run();
    found = isPrinted ? [format(...(value as unknown[]))] : [inspect(value, { depth: 4 }), String(value)];
  } catch (error) {
    if (!promise.startsWith("throws ")) throw error;
    found = [`throws ${String(error)}`];
  }
  if (found.some((text) => matches(text, promise))) return;
  throw new Error(`the example promises\n  ${promise}\nand gives\n  ${found[0]}`);
}
