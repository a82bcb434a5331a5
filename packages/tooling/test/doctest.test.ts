import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { collectExamples, compileExample } from "../src/doctest.ts";
import { check, matches } from "../src/doctest-check.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const checker = fileURLToPath(new URL("../src/doctest-check.ts", import.meta.url));

// Inside the repository, so that the examples find its packages; not in node_modules, whose files nobody translates.
const parent = join(root, "packages/tooling/.doctest");
mkdirSync(parent, { recursive: true });
const scratch = mkdtempSync(join(parent, "run-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(folder, name));
}

function documents(): string[] {
  const packages = readdirSync(join(root, "packages"));
  const sources = packages.flatMap((name) => {
    const folder = join("packages", name, "src");
    return readdirSync(join(root, "packages", name)).includes("src") ? filesBelow(folder, ".ts") : [];
  });
  const pages = packages.flatMap((name) =>
    readdirSync(join(root, "packages", name)).includes("README.md") ? [join("packages", name, "README.md")] : [],
  );
  return [...sources, ...pages, ...filesBelow("docs", ".md"), "README.md"];
}

const examples = documents().flatMap((file) => collectExamples(file, readFileSync(join(root, file), "utf8")));

async function runExample(code: string, name: string): Promise<void> {
  const file = join(scratch, `${name.replace(/[^\w]+/g, "-")}.ts`);
  writeFileSync(file, compileExample(code, relative(scratch, checker).replaceAll("\\", "/")));
  await import(/* @vite-ignore */ file);
}

for (const { file, line, code } of examples) {
  test(`example at ${file.replaceAll("\\", "/")}:${line}`, () => runExample(code, `${file}-${line}`));
}

describe("the doctest itself", () => {
  const example = [
    'import { inspect } from "node:util";',
    "const a: number = 1 + 1; // => 2",
    "[a, 'b'].concat(",
    "  'c',",
    ");",
    '// => [ 2, "b",',
    '//      "c" ]',
    "console.log('a', a); // => a 2",
    "await Promise.resolve(inspect(a)); // => 2",
    "null!.f(); // => throws TypeError: ...",
    "0.1 + 0.2; // => 0.3...",
  ].join("\n");

  test("kept promises pass", () => runExample(example, "kept"));

  test.each([
    ["1 + 1; // => 3", "gives\n  2"],
    ["const a = [1]; // => [ 2 ]", "gives\n  [ 1 ]"],
    ["console.log('a'); // => b", "gives\n  a"],
    ["(() => { throw new Error('no'); })(); // => throws TypeError: no", "gives\n  throws Error: no"],
    ["1; // => throws Error", "gives\n  1"],
    ["(() => { throw new Error('no'); })(); // => 1", "no"],
  ])("a broken promise fails: %s", async (code, message) => {
    await expect(runExample(code, `broken ${code}`)).rejects.toThrow(message);
  });

  test("a promise that nothing would check is an error", () => {
    expect(() => compileExample("function f() {\n  g(); // => 1\n}", checker)).toThrow("top level");
    expect(() => compileExample("// => 1", checker)).toThrow("top level");
    expect(() => compileExample("const { a } = b; // => 1", checker)).toThrow("one name");
  });

  test("blocks come from fences in Markdown and in docstrings, and only where they promise something", () => {
    const fence = "```";
    const page = ["x", `${fence}ts`, "1; // => 1", fence, `${fence}ts`, "2;", fence, `${fence}sh`, "# // => 3", fence];
    expect(collectExamples("a.md", page.join("\n"))).toEqual([{ file: "a.md", line: 3, code: "1; // => 1" }]);
    const source = ["/**", ` * ${fence}ts`, " * if (a) {", " *   b(); // => 1", " * }", ` * ${fence}`, " */"];
    expect(collectExamples("a.ts", ["f(`", ...source].join("\n"))).toEqual([
      { file: "a.ts", line: 4, code: "if (a) {\n  b(); // => 1\n}" },
    ]);
  });

  test("`...` stands for anything, white space and quotes do not matter", async () => {
    expect(matches("Tensor [1, 2, 3]", "Tensor [1, ...]")).toBe(true);
    expect(matches("Tensor [1]", "Tensor (1)")).toBe(false);
    expect(matches("[ 'a',\n 'b' ]", '[ "a", "b" ]')).toBe(true);
    await check(async () => ({ [Symbol.toPrimitive]: () => "shown" }), "shown", false);
  });
});
