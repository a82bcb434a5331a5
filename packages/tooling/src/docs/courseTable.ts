import { examples } from "../examples.ts";

/** The course's index: every example with the first sentence of what its file says. */
export function courseTable(): string {
  const rows = examples().map(({ number, file, about }) => `| [${number}](${file}) | ${about[0]} |`);
  return ["| | |", "| --- | --- |", ...rows].join("\n");
}
