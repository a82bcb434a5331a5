/** Elements that HTML ends by itself. */
const empty = new Set(["meta", "!doctype"]);
const tag = /<(\/?)([a-z!][a-z0-9]*)((?:\s+[a-z][a-z0-9-]*="[^"<]*"|\s+html)*)\s*(\/?)>/giy;

/** Throws unless every tag is closed in order, every attribute quoted, every text escaped, and every id is there once. */
export function checkWellFormed(markup: string): void {
  const open: string[] = [];
  const ids = new Set<string>();
  for (let at = 0; at < markup.length; ) {
    const fail = (problem: string): Error => new Error(`${problem}: ${markup.slice(at, at + 80)}`);
    if (markup[at] !== "<") {
      const next = markup.indexOf("<", at);
      const end = next === -1 ? markup.length : next;
      // Style sheets and JSON stand as they are.
      const isText = open.at(-1) !== "style" && open.at(-1) !== "script";
      if (isText && /&(?!(amp|lt|gt|quot|#39);)/.test(markup.slice(at, end))) throw fail("text is not escaped");
      at = end;
      continue;
    }
    tag.lastIndex = at;
    const match = tag.exec(markup);
    if (match === null) throw fail("no tag");
    const [whole, closing, name = "", attributes = "", alone] = match;
    if (closing === "/") {
      if (open.pop() !== name) throw fail("closes what is not open");
    } else if (alone === "" && !empty.has(name)) open.push(name);
    const id = / id="([^"]*)"/.exec(attributes)?.[1];
    if (id !== undefined && ids.has(id)) throw fail("id is there twice");
    if (id !== undefined) ids.add(id);
    at += whole.length;
  }
  if (open.length > 0) throw new Error(`never closed: ${open.join(", ")}`);
}
