/** Where a command writes: results to `out`, progress and errors to `error`. */
export interface Output {
  readonly out: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
  readonly error: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };
}

/** A line of results. */
export function printLine(output: Output, line = ""): void {
  output.out.write(`${line}\n`);
}

/**
 * A text that a model wrote, on one or more lines. On a terminal what controls it (a model may write any byte) is shown as its
 * picture; a file or a pipe gets the text as it is.
 */
export function printText(output: Output, text: string): void {
  printLine(output, output.out.isTTY ? showControls(text) : text);
}

/** C0 controls but line feed and tab, DEL, and the C1 controls: the only characters that a terminal obeys. */
const controls = /[^\P{Cc}\n\t]/gu;

const showControls = (text: string): string =>
  text.replace(controls, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? "\u2421" : "\ufffd";
  });

/** Rows of cells in columns: the first to the left, the others to the right. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, c) => Math.max(...rows.map((r) => r[c]!.length)));
  return rows.map((row) =>
    row
      .map((cell, c) => (c === 0 ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!)))
      .join("  ")
      .trimEnd(),
  );
}
