import { expect } from "vitest";

/** Elements that HTML ends by itself. */
const empty = new Set(["meta", "!doctype"]);

/** Fails unless every tag is closed in order, every attribute quoted, every text escaped, and every id is there once. */
export function checkWellFormed(markup: string): void {
  const open: string[] = [];
  const ids: string[] = [];
  const tag = /<(\/?)([a-z!][a-z0-9]*)((?:\s+[a-z][a-z0-9-]*="[^"<]*"|\s+html)*)\s*(\/?)>/giy;
  for (let at = 0; at < markup.length; ) {
    if (markup[at] !== "<") {
      const next = markup.indexOf("<", at);
      const end = next === -1 ? markup.length : next;
      // Style sheets and JSON stand as they are.
      if (open.at(-1) !== "style" && open.at(-1) !== "script") {
        expect(markup.slice(at, end)).not.toMatch(/&(?!(amp|lt|gt|quot|#39);)/);
      }
      at = end;
      continue;
    }
    tag.lastIndex = at;
    const match = tag.exec(markup);
    expect(match, markup.slice(at, at + 80)).not.toBeNull();
    const [whole, closing, name = "", attributes = "", alone] = match!;
    if (closing === "/") expect(open.pop()).toBe(name);
    else if (alone === "" && !empty.has(name)) open.push(name);
    const id = / id="([^"]*)"/.exec(attributes)?.[1];
    if (id !== undefined) ids.push(id);
    at += whole.length;
  }
  expect(open).toEqual([]);
  expect(new Set(ids).size).toBe(ids.length);
}
