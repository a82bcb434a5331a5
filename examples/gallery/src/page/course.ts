import { element, part } from "./dom.ts";

// The examples' own sources, as they lie in the folder: the list cannot go stale.
const sources = import.meta.glob<string>("../../../[0-9][0-9]-*.ts", { query: "?raw", import: "default", eager: true });

/** Every example with what its first lines say, and its code to unfold. */
export function mountCourse(section: HTMLElement): void {
  const lessons = Object.entries(sources)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, source]) => lesson(path.slice(path.lastIndexOf("/") + 1), source));
  part(section, "lessons").replaceChildren(...lessons);
}

function lesson(file: string, source: string): HTMLElement {
  const code = element("pre", { tabIndex: 0 }, element("code", { textContent: source }));
  const number = file.slice(0, 2);
  const title = file.slice(3, -3).replaceAll("-", " ");
  const summary = element(
    "summary",
    {},
    element("span", { className: "number", textContent: number }),
    element("span", { className: "title", textContent: title.charAt(0).toUpperCase() + title.slice(1) }),
  );
  const about = (source.match(/^(?:\/\/.*\n)+/)?.[0] ?? "")
    .replace(/^\/\/ ?/gm, "")
    .split("\n")
    .join(" ")
    .trim();
  return element("li", {}, element("details", {}, summary, element("p", { textContent: about }), code));
}
