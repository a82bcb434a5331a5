import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { examples } from "../src/examples.ts";
import { root } from "../src/packages.ts";

const course = examples();

test("the course is numbered 01, 02, ... without a gap", () => {
  expect(course.map(({ number }) => Number(number))).toEqual(course.map((_, i) => i + 1));
});

describe.each(course)("example $file", ({ file, about, lines }) => {
  test("has at most 150 lines, and says at its beginning what it shows, the first line a whole sentence", () => {
    expect(lines).toBeLessThanOrEqual(150);
    expect(about.length).toBeGreaterThanOrEqual(2);
    expect(about[0]).toMatch(/^[A-Z].*\.$/);
  });

  test("claims something that --assert checks", () => {
    expect(readFileSync(join(root, "examples", file), "utf8")).toMatch(/^ *claim\(\{$/m);
  });
});

test("every number and file of an example that a page names is that of one", () => {
  const pages = ["README.md", "AGENTS.md", "examples/README.md", "docs/flows.md", "docs/models.md", "docs/README.md"];
  for (const page of pages) {
    const text = readFileSync(join(root, page), "utf8");
    for (const [, named] of text.matchAll(/npm run example -- (\d\d)/g))
      expect(
        course.map(({ number }) => number),
        page,
      ).toContain(named);
    for (const [, named] of text.matchAll(/\((?:examples\/)?(\d\d-[a-z0-9-]+\.ts)\)/g))
      expect(
        course.map(({ file }) => file),
        page,
      ).toContain(named);
  }
});
