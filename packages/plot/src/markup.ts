/** Text that is already HTML or SVG. Everything else that comes into a template is escaped. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  toString(): string {
    return this.text;
  }
}

export type MarkupValue = string | number | Markup | undefined | false | readonly MarkupValue[];

/**
 * A piece of HTML or SVG: strings and numbers are escaped for text and double-quoted attributes, lists are joined, `undefined` and
 * `false` are nothing.
 */
export function html(strings: TemplateStringsArray, ...values: readonly MarkupValue[]): Markup {
  return new Markup(strings.map((part, i) => part + (i < values.length ? render(values[i]) : "")).join(""));
}

function render(value: MarkupValue): string {
  if (value instanceof Markup) return value.text;
  if (typeof value === "string" || typeof value === "number") return escapeMarkup(String(value));
  return value === undefined || value === false ? "" : value.map(render).join("");
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** What HTML and XML read as this text. Control characters, which neither may hold, become U+FFFD. */
export function escapeMarkup(text: string): string {
  return text
    .replace(/[&<>"']/g, (character) => entities[character] ?? "")
    .replace(/[^\P{Control}\t\n\r]|\p{Surrogate}|[\ufffe\uffff]/gu, "\ufffd");
}
